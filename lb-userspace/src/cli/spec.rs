//! Short forms that people type: listeners, selectors, ranges.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::model::ip_pool::PoolRange;
use crate::model::load_balancer::Listener;

/// `[NAME:]PORT[-ENDPORT][:BACKENDPORT][/PROTOCOL]`. Numbers are as wide as the API's, which refuses what is no port.
pub(super) fn listener(text: &str) -> anyhow::Result<Listener> {
    let wrong = "write [NAME:]PORT[-ENDPORT][:BACKENDPORT][/tcp|/udp], for example web:80:8080/tcp";
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_uppercase();
    ensure!(
        matches!(protocol.as_str(), "TCP" | "UDP"),
        "{text:?}: the protocol is neither tcp nor udp; {wrong}"
    );
    let mut parts: Vec<&str> = numbers.split(':').collect();
    let is_name = |part: &&str| part.contains(|c: char| c.is_ascii_alphabetic());
    let name = if parts.first().is_some_and(is_name) { parts.remove(0) } else { "" };
    let number = |part: &str| -> anyhow::Result<i64> {
        part.parse().or_else(|_| bail!("{text:?}: {part:?} is not a port number; {wrong}"))
    };
    let (dialled, backend_port) = match parts.as_slice() {
        [dialled] => (*dialled, None),
        [dialled, backend_port] => (*dialled, Some(number(backend_port)?)),
        _ => bail!("{text:?} is not a listener; {wrong}"),
    };
    let (port, end_port) = match dialled.split_once('-') {
        Some((port, end_port)) => (number(port)?, number(end_port)?),
        None => (number(dialled)?, 0),
    };
    // A range keeps the port that is dialled.
    let backend_port = backend_port.unwrap_or(if end_port == 0 { port } else { 0 });
    let name = name.to_owned();
    Ok(Listener { name, port, end_port, protocol, backend_port, strict: false, health_check: None })
}

/// `KEY=VALUE[,VALUE…]`, one a label; the values of one key add up.
pub(super) fn selector(texts: &[String]) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut selector = BTreeMap::<String, Vec<String>>::new();
    for text in texts {
        let Some((key, values)) = text.split_once('=') else {
            bail!("--selector {text:?}: no '='; write KEY=VALUE[,VALUE], for example app=web,api");
        };
        let values = values.split(',').map(|value| value.trim().to_owned());
        selector.entry(key.trim().to_owned()).or_default().extend(values);
    }
    Ok(selector)
}

/// `SUBNET[,start=ADDRESS][,end=ADDRESS][,gateway=ADDRESS]`.
pub(super) fn range(text: &str) -> anyhow::Result<PoolRange> {
    let wrong = "write SUBNET[,start=A][,end=A][,gateway=A], for example 192.0.2.0/24,start=192.0.2.10";
    let mut parts = text.split(',');
    let subnet = parts.next().unwrap_or_default().to_owned();
    let mut range = PoolRange { subnet, ..PoolRange::default() };
    for part in parts {
        let field = match part.split_once('=') {
            Some(("start", _)) => &mut range.range_start,
            Some(("end", _)) => &mut range.range_end,
            Some(("gateway", _)) => &mut range.gateway,
            Some(_) | None => bail!("{text:?}: {part:?} is not understood; {wrong}"),
        };
        ensure!(field.is_empty(), "{text:?}: {part:?} is given twice; {wrong}");
        *field = part.split_once('=').map_or_else(String::new, |(_, value)| value.to_owned());
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_in_all_forms() {
        for (text, name, port, protocol, backend_port) in [
            ("80", "", 80, "TCP", 80),
            ("80:8080", "", 80, "TCP", 8080),
            ("web:80", "web", 80, "TCP", 80),
            ("web:80:8080/tcp", "web", 80, "TCP", 8080),
            ("53:5353/UDP", "", 53, "UDP", 5353),
            ("web:70000:0", "web", 70_000, "TCP", 0),
        ] {
            let expected = Listener {
                name: name.into(),
                port,
                protocol: protocol.into(),
                backend_port,
                ..Listener::default()
            };
            assert_eq!(listener(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_of_ports_has_no_backend_port_of_its_own() {
        let range = listener("game:27000-27100/udp").unwrap();
        assert_eq!((range.port, range.end_port, range.backend_port), (27_000, 27_100, 0));
        assert_eq!(listener("8000-8100:80").unwrap().backend_port, 80, "refused by the API");
        assert!(listener("8000-").is_err());
    }

    #[test]
    fn what_is_no_listener_is_refused_with_the_form() {
        for text in ["", "web", "80/sctp", "80:", "1:2:3", "web:80:8080:1", "8 0"] {
            let error = listener(text).unwrap_err().to_string();
            assert!(error.contains("web:80:8080/tcp"), "{text}: {error}");
        }
    }

    #[test]
    fn selectors_add_up() {
        let texts = ["app=web, api".to_owned(), "app=ui".into(), "zone=a".into()];
        let selector = selector(&texts).unwrap();
        assert_eq!(selector["app"], ["web", "api", "ui"]);
        assert_eq!(selector["zone"], ["a"]);
        assert!(super::selector(&["app".into()]).is_err());
    }

    #[test]
    fn ranges_have_optional_bounds() {
        let range = range("192.0.2.0/24,start=192.0.2.10,gateway=192.0.2.254").unwrap();
        assert_eq!((range.subnet.as_str(), range.range_start.as_str()), ("192.0.2.0/24", "192.0.2.10"));
        assert_eq!((range.range_end.as_str(), range.gateway.as_str()), ("", "192.0.2.254"));
        for text in ["192.0.2.0/24,stop=192.0.2.9", "192.0.2.0/24,end=a,end=b", "192.0.2.0/24,192.0.2.9"] {
            assert!(super::range(text).is_err(), "{text}");
        }
    }
}
