//! A client of the dashboard without a browser.

use trailpad_tests::Answer;
use trailpad_tests::http::{request, split};

/// A client with or without a session.
pub struct Visitor {
    url: String,
    cookie: String,
    /// The session's form token.
    pub csrf: String,
}

impl Visitor {
    /// Without a session.
    pub fn anonymous(url: &str) -> Self {
        Self { url: url.to_owned(), cookie: String::new(), csrf: String::new() }
    }

    /// Signed in by a one-time link.
    pub async fn by_link(link: &str) -> Self {
        let answer =
            request("POST", link, &[], b"").await.expect("the request should get a response");
        Self::with_session(format!("http://{}", split(link).0), &answer).await
    }

    /// Signed in by a password; address and password are form-encoded.
    pub async fn by_password(url: &str, email: &str, password: &str) -> Self {
        let form = format!("email={email}&password={password}");
        let answer = Self::anonymous(url).post_bare("/sign-in", &form).await;
        Self::with_session(url.to_owned(), &answer).await
    }

    async fn with_session(url: String, answer: &Answer) -> Self {
        let cookie =
            answer.headers.get("set-cookie").expect("the response should set a session cookie");
        let cookie = cookie.split(';').next().expect("the cookie should have a value").to_owned();
        let mut visitor = Self { url, cookie, csrf: String::new() };
        let page = visitor.ask("GET", "/account", "").await.text();
        let (_, rest) =
            page.split_once("name=\"csrf\" value=\"").expect("the page should contain a form");
        visitor.csrf = rest.split('"').next().expect("the page should contain a value").to_owned();
        visitor
    }

    /// Requests a path; a POST sends the form with the form token.
    pub async fn ask(&self, method: &str, path: &str, form: &str) -> Answer {
        match method {
            "GET" => self.send(method, path, "").await,
            _ => self.post(path, form).await,
        }
    }

    /// Sends a form with the form token.
    pub async fn post(&self, path: &str, form: &str) -> Answer {
        self.post_bare(path, &format!("{form}&csrf={}", self.csrf)).await
    }

    /// Sends a form without the form token.
    pub async fn post_bare(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        if !self.cookie.is_empty() {
            headers.push(("cookie", &self.cookie));
        }
        let url = format!("{}{path}", self.url);
        request(method, &url, &headers, body.as_bytes())
            .await
            .expect("the request should get a response")
    }
}
