//! Ready-made examples for senders.

use maud::{Markup, html};

/// The example of the product's documentation. Each tool has its own `externalId`.
const ACTIVITY: &str = r#"{
  "title": "Customer Inquiry Handled",
  "description": "Handled customer inquiry from Jane Doe regarding billing.",
  "startTime": "2024-08-03T11:30:00Z",
  "trigger": "Manual Log",
  "event": "Call Center Log",
  "externalId": "call-log-9876"
}"#;

/// Examples for curl, Python and JavaScript. Python and JavaScript read the URL from an environment
/// variable: nobody should paste a secret into code.
pub fn examples(url: &str) -> Markup {
    let [python_activity, javascript_activity] =
        ["call-log-9877", "call-log-9878"].map(|id| ACTIVITY.replace("call-log-9876", id));
    let curl = format!(
        "curl -X POST \\\n  {url} \\\n  -H 'Content-Type: application/json' \\\n  -d '{ACTIVITY}'"
    );
    let python = format!(
        "import json, os, urllib.error, urllib.request\n\n\
         # export TRAILPAD_WEBHOOK_URL='{url}'\n\
         activity = {python_activity}\n\
         request = urllib.request.Request(\n    os.environ[\"TRAILPAD_WEBHOOK_URL\"],\n    \
         data=json.dumps(activity).encode(),\n    headers={{\"Content-Type\": \"application/json\"}},\n)\n\
         try:\n    print(urllib.request.urlopen(request).read().decode())\n\
         except urllib.error.HTTPError as error:\n    print(error.code, error.read().decode())"
    );
    let javascript = format!(
        "// On a server, never in a browser. export TRAILPAD_WEBHOOK_URL='{url}'\n\
         const activity = {javascript_activity};\n\
         const answer = await fetch(process.env.TRAILPAD_WEBHOOK_URL, {{\n  method: \"POST\",\n  \
         headers: {{ \"Content-Type\": \"application/json\" }},\n  body: JSON.stringify(activity),\n}});\n\
         console.log(answer.status, await answer.json());"
    );
    html! {
        @for (id, name, text, open) in [
            ("curl", "curl", curl, true),
            ("python", "Python", python, false),
            ("javascript", "JavaScript", javascript, false),
        ] {
            details open[open] {
                summary { (name) }
                pre tabindex="0" { code id=(id) { (text) } }
                button.plain.js-only type="button" data-copy=(id) { "Copy" }
            }
        }
    }
}
