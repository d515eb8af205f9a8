//! Somebody who asks for pages without a browser.

use trailpad_tests::Answer;
use trailpad_tests::http::{request, split};

/// With a session, or without.
pub struct Visitor {
    url: String,
    cookie: String,
    /// What the forms of the session bring back.
    pub csrf: String,
}

impl Visitor {
    /// Without a session.
    pub fn nobody(url: &str) -> Self {
        Self { url: url.to_owned(), cookie: String::new(), csrf: String::new() }
    }

    /// Signed in by a one-time link.
    pub async fn by_link(link: &str) -> Self {
        let answer = request("POST", link, &[], b"").await.expect("an answer");
        Self::with_session(format!("http://{}", split(link).0), &answer).await
    }

    /// Signed in by a password, both as in a form.
    pub async fn by_password(url: &str, email: &str, password: &str) -> Self {
        let form = format!("email={email}&password={password}");
        let answer = Self::nobody(url).post_bare("/sign-in", &form).await;
        Self::with_session(url.to_owned(), &answer).await
    }

    async fn with_session(url: String, answer: &Answer) -> Self {
        let cookie = answer.headers.get("set-cookie").expect("a session");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        let mut visitor = Self { url, cookie, csrf: String::new() };
        let page = visitor.ask("GET", "/account", "").await.text();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        visitor.csrf = rest.split('"').next().expect("a value").to_owned();
        visitor
    }

    /// Asks as a page of the dashboard would.
    pub async fn ask(&self, method: &str, path: &str, form: &str) -> Answer {
        match method {
            "GET" => self.send(method, path, "").await,
            _ => self.post(path, form).await,
        }
    }

    /// Sends a form of a page of the dashboard.
    pub async fn post(&self, path: &str, form: &str) -> Answer {
        self.post_bare(path, &format!("{form}&csrf={}", self.csrf)).await
    }

    /// Sends a form as it is.
    pub async fn post_bare(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        if !self.cookie.is_empty() {
            headers.push(("cookie", &self.cookie));
        }
        let url = format!("{}{path}", self.url);
        request(method, &url, &headers, body.as_bytes()).await.expect("an answer")
    }
}
