//! The client address of a request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

/// Returns the last address in `header`, which the proxy added, or the TCP peer's address if `header`
/// is `None` or holds no address.
pub fn address(request: &HttpRequest, header: Option<&HeaderName>) -> IpAddr {
    let forwarded = header.and_then(|name| request.headers().get_all(name).last());
    let forwarded = forwarded.and_then(|list| last_of(list.to_str().ok()?));
    let peer = || request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
    forwarded.unwrap_or_else(peer)
}

/// The last address of a list. The proxy itself appends it; earlier addresses came from the client.
fn last_of(list: &str) -> Option<IpAddr> {
    let last = list.rsplit(',').next()?.trim();
    let without_port = || last.parse::<SocketAddr>().ok().map(|address| address.ip());
    last.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const HEADER: HeaderName = HeaderName::from_static("x-forwarded-for");

    fn seen(lines: &[&str], header: Option<&HeaderName>) -> String {
        let request = TestRequest::default()
            .peer_addr("192.0.2.9:443".parse().expect("the address should be valid"));
        let request =
            lines.iter().fold(request, |request, line| request.append_header((HEADER, *line)));
        address(&request.to_http_request(), header).to_string()
    }

    #[test]
    fn the_last_address_of_the_header_is_used_only_if_a_setting_names_the_header() {
        for (lines, client) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["10.0.0.1, 192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.1", "10.0.0.2,192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:5000"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]:5000"], "2001:db8::1"),
            (&["192.0.2.1, unknown"], "192.0.2.9"),
            (&[""], "192.0.2.9"),
            (&[], "192.0.2.9"),
        ] {
            assert_eq!(seen(lines, Some(&HEADER)), client, "{lines:?}");
            assert_eq!(seen(lines, None), "192.0.2.9", "{lines:?}");
        }
    }
}
