//! The dashboard role: pages where members make webhooks and see what arrives.
//!
//! Server-rendered, with a little JavaScript that every page works without. Knows the domain and
//! its ports, no engine. `server.rs` lists every route; each page has a file in `pages/`.

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
pub use state::Stores;
