//! A headless Chromium, driven over WebDriver.

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
use crate::{http, repository, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);
const BETWEEN_CLICKS: Duration = Duration::from_millis(80);
/// A name of this machine that a browser does not take for loopback. Plain http to it is not a secure
/// context.
pub const NAME: &str = "trailpad.test";

/// A browser; dropping it ends the process.
pub struct Browser {
    client: Client,
    driver: String,
    _guard: ProcessGuard,
}

impl Browser {
    /// Opens a window of the size of a desktop.
    pub async fn open() -> Self {
        let dir = temp_dir("chromium");
        let port = free_port();
        let home = dir.display().to_string();
        let script = format!("exec chromedriver --port={port}");
        let environment = [("HOME".to_owned(), home.clone()), ("TMPDIR".to_owned(), home.clone())];
        let _guard = ProcessGuard::start(&script, &environment, &dir, "TERM");
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
            .capabilities(capabilities.expect("the capabilities should be an object"))
            .connect(&driver)
            .await
            .expect("chromedriver should open a session");
        Self { client, driver, _guard }
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page should load");
    }

    /// Opens another tab and switches to it.
    pub async fn open_tab(&self) {
        let tab = self.client.new_window(true).await.expect("opening a tab should succeed");
        self.client.switch_to_window(tab.handle).await.expect("switching the tab should succeed");
    }

    /// Switches to the first tab.
    pub async fn first_tab(&self) {
        let tabs = self.client.windows().await.expect("listing the tabs should succeed");
        self.client
            .switch_to_window(tabs[0].clone())
            .await
            .expect("switching the tab should succeed");
    }

    /// The path of the current page.
    pub async fn path(&self) -> String {
        self.client.current_url().await.expect("reading the URL should succeed").path().to_owned()
    }

    /// Waits for the first element that matches an XPath.
    async fn find(&self, xpath: &str) -> Element {
        let found = self.client.wait().at_most(DEADLINE).for_element(Locator::XPath(xpath)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{xpath}: {error}; the page shows:\n{}", self.text().await),
        }
    }

    /// Clicks the link, button or summary with this text.
    pub async fn click(&self, text: &str) {
        self.find(&clickable(text)).await.click().await.expect("clicking should succeed");
    }

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
        self.client.perform_actions(mouse).await.expect("clicking should succeed");
    }

    /// The field with this label.
    async fn field(&self, label: &str) -> Element {
        let xpath = format!(
            "//label[starts-with(normalize-space(), '{label}')]//*[self::input or self::select] | //*[@aria-label='{label}']"
        );
        self.find(&xpath).await
    }

    /// Types into the field with this label.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("clearing the field should succeed");
        field.send_keys(text).await.expect("typing should succeed");
    }

    /// Pastes into the field with this label and returns its value.
    pub async fn paste(&self, label: &str) -> String {
        let field = self.field(label).await;
        field.clear().await.expect("clearing the field should succeed");
        field.send_keys(&(Key::Control + "v")).await.expect("pasting should succeed");
        field.prop("value").await.expect("the field should have a value").unwrap_or_default()
    }

    /// Selects an option of the field with this label.
    pub async fn choose(&self, label: &str, text: &str) {
        self.field(label)
            .await
            .select_by_label(text)
            .await
            .expect("the field should have this option");
    }

    /// Checks the checkbox with this label.
    pub async fn tick(&self, label: &str) {
        self.field(label).await.click().await.expect("clicking should succeed");
    }

    /// The text of the element with this id.
    pub async fn text_of(&self, id: &str) -> String {
        self.find(&format!("//*[@id='{id}']"))
            .await
            .text()
            .await
            .expect("the element should have a text")
    }

    /// The visible text of the page; empty between two pages.
    pub async fn text(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// The HTML of the page.
    pub async fn source(&self) -> String {
        self.client.source().await.expect("reading the source should succeed")
    }

    /// Waits until the page shows the text.
    pub async fn sees(&self, text: &str) {
        wait_until(
            &format!("{text:?}"),
            DEADLINE,
            async || self.text().await,
            |seen| seen.contains(text),
        )
        .await;
    }

    /// Reloads a page until it shows the text.
    pub async fn reload_until(&self, path: &str, text: &str, url: &str) {
        let reload = async || {
            self.goto(&format!("{url}{path}")).await;
            self.text().await
        };
        wait_until(&format!("{text:?}"), DEADLINE, reload, |seen| seen.contains(text)).await;
    }

    /// Runs JavaScript and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script should run")
    }

    /// Sets the size of the window and the theme of the system.
    pub async fn set_appearance(&self, width: u32, height: u32, dark: bool) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let session = self
            .client
            .session_id()
            .await
            .expect("reading the session id should succeed")
            .expect("the session should be open");
        let url = format!("{}/session/{session}/goog/cdp/execute", self.driver);
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = http::request("POST", &url, &headers, body.as_bytes()).await;
        assert_eq!(answer.expect("the request should get a response").status, 200, "{command}");
    }

    /// Writes a screenshot of the page.
    pub async fn screenshot(&self, path: &Path) {
        let png = self.client.screenshot().await.expect("taking a screenshot should succeed");
        std::fs::create_dir_all(path.parent().expect("the path should have a parent"))
            .expect("creating a directory should succeed");
        std::fs::write(path, png).expect("writing the file should succeed");
    }

    /// The violations that axe-core finds on the page, one line each: rule, help and elements.
    pub async fn axe(&self) -> Vec<String> {
        let script = repository::path("scripts/fetch-axe");
        let output = Command::new(script).output().expect("the script should start");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = String::from_utf8(output.stdout).expect("the output should be UTF-8");
        let axe = std::fs::read_to_string(path.trim()).expect("reading axe-core should succeed");
        self.run(&format!("{axe}; return null;")).await;
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
                (r) => done(r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' | ')}`)),
                (e) => done([String(e)]));";
        let found = self.client.execute_async(run, Vec::new()).await.expect("axe-core should run");
        serde_json::from_value(found).expect("the result should be a list of texts")
    }

    pub async fn close(self) {
        self.client.close().await.expect("closing the browser should succeed");
    }
}

/// XPath of the link, button or summary with this text.
fn clickable(text: &str) -> String {
    format!(
        "//*[self::a or self::button or self::summary][normalize-space()='{text}'][not(ancestor::*[@hidden])]"
    )
}
