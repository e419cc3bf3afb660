//! Ports that a server is published at, and text that names them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use statehouse_contracts::{Error, Result};

/// Below those that systems hand out to outgoing connections: one of these would take the port of
/// a server that is down for a moment.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port of the loopback interface that nobody listens on.
pub(crate) fn free() -> Result<u16> {
    (0..200)
        .map(|_| fastrand::u16(RANGE))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::internal(format!("no free port found in {RANGE:?}")))
}

/// Published ports by name.
pub(crate) type Published = BTreeMap<String, u16>;

/// `text` with each `${name}` replaced by that port.
pub(crate) fn fill(text: &str, ports: &Published) -> String {
    ports.iter().fold(text.to_owned(), |text, (name, port)| {
        text.replace(&format!("${{{name}}}"), &port.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_ports() {
        let ports = Published::from([("main".to_owned(), 1), ("broker".to_owned(), 2)]);
        assert_eq!(fill("a:${main} {b} ${broker}", &ports), "a:1 {b} 2");
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let port = free().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!((0..500).all(|_| free().unwrap() != port));
    }
}
