//! A real Chromium, headless, driven over WebDriver.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::process_guard::{ProcessGuard, free_port, temp_dir};
use crate::{http, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);
const BETWEEN_CLICKS: Duration = Duration::from_millis(80);
/// A name of this machine that is not loopback to a browser: plain http to it is no secure context.
pub const NAME: &str = "trailpad.test";

/// A browser with one window; dropping it ends it.
pub struct Browser {
    client: Client,
    driver: String,
    _keeper: ProcessGuard,
}

impl Browser {
    /// Opens a window as wide as a desktop's.
    pub async fn open() -> Self {
        let (dir, port) = (temp_dir("chromium"), free_port());
        let home = dir.display().to_string();
        let script = format!("exec chromedriver --port={port}");
        let environment = [("HOME".to_owned(), home.clone()), ("TMPDIR".to_owned(), home.clone())];
        let _keeper = ProcessGuard::start(&script, &environment, &dir, "TERM");
        let driver = format!("http://127.0.0.1:{port}");
        let ready = async || {
            let answer = http::request("GET", &format!("{driver}/status"), &[], b"").await.ok()?;
            answer.json()["value"]["ready"].as_bool()
        };
        wait_until("chromedriver is ready", DEADLINE, ready, |ready| *ready == Some(true)).await;
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1280,900",
            "--lang=en-GB",
            format!("--host-resolver-rules=MAP {NAME} 127.0.0.1"),
            format!("--user-data-dir={home}/profile"),
        ]);
        let capabilities =
            serde_json::from_value(json!({ "goog:chromeOptions": { "args": arguments } }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.expect("an object"))
            .connect(&driver)
            .await
            .expect("a session");
        Self { client, driver, _keeper }
    }

    /// Opens a page.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("a page");
    }

    /// Opens another tab, and looks at it.
    pub async fn open_tab(&self) {
        let tab = self.client.new_window(true).await.expect("a tab");
        self.client.switch_to_window(tab.handle).await.expect("shown");
    }

    /// Looks at the first tab.
    pub async fn first_tab(&self) {
        let tabs = self.client.windows().await.expect("tabs");
        self.client.switch_to_window(tabs[0].clone()).await.expect("shown");
    }

    /// Where the window is.
    pub async fn path(&self) -> String {
        self.client.current_url().await.expect("a URL").path().to_owned()
    }

    /// Waits for the first element that an XPath finds.
    async fn find(&self, xpath: &str) -> Element {
        let found = self.client.wait().at_most(DEADLINE).for_element(Locator::XPath(xpath)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{xpath}: {error}; the page says:\n{}", self.text().await),
        }
    }

    /// Clicks the link, button or summary of this text.
    pub async fn click(&self, text: &str) {
        self.find(&clickable(text)).await.click().await.expect("clicked");
    }

    /// Clicks twice, as a person does who is used to it.
    pub async fn double_click(&self, text: &str) {
        let element = self.find(&clickable(text)).await;
        let duration = Some(Duration::ZERO);
        let mut mouse = MouseActions::new("mouse".to_owned()).then(PointerAction::MoveToElement {
            element,
            duration,
            x: 0.0,
            y: 0.0,
        });
        for _ in 0..2 {
            mouse = mouse
                .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
                .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT })
                .then(PointerAction::Pause { duration: BETWEEN_CLICKS });
        }
        self.client.perform_actions(mouse).await.expect("clicked");
    }

    /// The field with this label.
    async fn field(&self, label: &str) -> Element {
        let xpath = format!(
            "//label[starts-with(normalize-space(), '{label}')]//*[self::input or self::select] | //*[@aria-label='{label}']"
        );
        self.find(&xpath).await
    }

    /// Writes into the field with this label.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("empty");
        field.send_keys(text).await.expect("written");
    }

    /// Pastes into the field with this label, and gives what it then holds.
    pub async fn paste(&self, label: &str) -> String {
        let field = self.field(label).await;
        field.clear().await.expect("empty");
        field.send_keys(&(Key::Control + "v")).await.expect("pasted");
        field.prop("value").await.expect("a field").unwrap_or_default()
    }

    /// Chooses from the field with this label.
    pub async fn choose(&self, label: &str, text: &str) {
        self.field(label).await.select_by_label(text).await.expect("an option");
    }

    /// Ticks the box with this label.
    pub async fn tick(&self, label: &str) {
        self.field(label).await.click().await.expect("ticked");
    }

    /// The text of the element with this id.
    pub async fn text_of(&self, id: &str) -> String {
        self.find(&format!("//*[@id='{id}']")).await.text().await.expect("a text")
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        // Between two pages there is none.
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Everything the page is made of.
    pub async fn source(&self) -> String {
        self.client.source().await.expect("a page")
    }

    /// Waits until the page says this.
    pub async fn sees(&self, text: &str) {
        wait_until(
            &format!("{text:?}"),
            DEADLINE,
            async || self.text().await,
            |seen| seen.contains(text),
        )
        .await;
    }

    /// Loads a page again until it says this.
    pub async fn reload_until(&self, path: &str, text: &str, url: &str) {
        let look = async || {
            self.goto(&format!("{url}{path}")).await;
            self.text().await
        };
        wait_until(&format!("{text:?}"), DEADLINE, look, |seen| seen.contains(text)).await;
    }

    /// Runs JavaScript and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("a script")
    }

    /// Gives the window another size, and the system another theme.
    pub async fn look(&self, width: u32, height: u32, dark: bool) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let session = self.client.session_id().await.expect("a call").expect("a session");
        let url = format!("{}/session/{session}/goog/cdp/execute", self.driver);
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = http::request("POST", &url, &headers, body.as_bytes()).await;
        assert_eq!(answer.expect("an answer").status, 200, "{command}");
    }

    /// Writes the page as a picture.
    pub async fn picture(&self, path: &Path) {
        let png = self.client.screenshot().await.expect("a picture");
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, png).expect("a file");
    }

    /// What axe-core finds wrong with the page: rule, help and elements, one line each.
    pub async fn axe(&self) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-axe");
        let output = Command::new(script).output().expect("the script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = String::from_utf8(output.stdout).expect("UTF-8");
        let axe = std::fs::read_to_string(path.trim()).expect("axe-core");
        self.run(&format!("{axe}; return null;")).await;
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
                (r) => done(r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' | ')}`)),
                (e) => done([String(e)]));";
        let found = self.client.execute_async(run, Vec::new()).await.expect("axe-core runs");
        serde_json::from_value(found).expect("a list of texts")
    }

    /// The cookies of the page's host.
    pub async fn cookies(&self) -> HashMap<String, String> {
        let all = self.client.get_all_cookies().await.expect("cookies");
        all.iter().map(|one| (one.name().to_owned(), one.value().to_owned())).collect()
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.client.close().await.expect("closed");
    }
}

/// The link, button or summary of this text.
fn clickable(text: &str) -> String {
    format!(
        "//*[self::a or self::button or self::summary][normalize-space()='{text}'][not(ancestor::*[@hidden])]"
    )
}
