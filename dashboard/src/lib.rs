//! The dashboard role: pages where members create webhooks and see their activities.
//!
//! Rendered on the server, with a little JavaScript; every page works without it. Depends on the
//! domain and its ports, not on an engine. `server.rs` lists every route; each page has a file in
//! `pages/`.

mod assets;
mod chart;
mod client;
mod error;
mod fields;
mod layout;
mod pages;
mod password;
mod return_to;
mod security;
mod server;
mod session;
mod settings;
mod state;
mod throttle;

pub use server::{DashboardServer, StartError};
pub use settings::Settings;
