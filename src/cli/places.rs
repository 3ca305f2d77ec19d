//! The lines at start that name the addresses the server listens on.

use ringsock::address::{AddressFamilies, Endpoint, UnixAddress, UnixName};

/// Returns all endpoints, in one line.
pub fn list(endpoints: &[Endpoint]) -> String {
    let shown = endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Tcp { families: AddressFamilies::Both, .. } => format!("{endpoint} and IPv4"),
        _ => endpoint.to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns the URL of `path` for a client: on the first TCP address, or else on the first Unix socket.
pub fn url(endpoints: &[Endpoint], scheme: &str, path: &str) -> String {
    match first(endpoints) {
        Some(Place::Tcp(endpoint)) => format!("{scheme}://{endpoint}{path}"),
        Some(Place::Unix(unix)) => format!("{scheme}+unix:{}:{path}", name(unix)),
        None => "nowhere".to_owned(),
    }
}

/// Returns the URL or the command by which a person can try the server.
pub fn to_try_it(endpoints: &[Endpoint], scheme: &str) -> String {
    match first(endpoints) {
        Some(Place::Tcp(endpoint)) => match endpoint.reached_at() {
            Some(address) => format!("{scheme}://{address}/ to try it"),
            None => String::new(),
        },
        Some(Place::Unix(UnixAddress { name: UnixName::Path(path), .. })) => {
            format!("curl --unix-socket {} {scheme}://localhost/ to try it", path.display())
        }
        Some(Place::Unix(UnixAddress { name: UnixName::Abstract(name), .. })) => {
            format!("curl --abstract-unix-socket {name} {scheme}://localhost/ to try it")
        }
        None => String::new(),
    }
}

enum Place<'e> {
    Tcp(&'e Endpoint),
    Unix(&'e UnixAddress),
}

fn first(endpoints: &[Endpoint]) -> Option<Place<'_>> {
    let tcp = endpoints.iter().find(|endpoint| matches!(endpoint, Endpoint::Tcp { .. })).map(Place::Tcp);
    tcp.or_else(|| {
        endpoints.iter().find_map(|endpoint| match endpoint {
            Endpoint::Unix(unix) => Some(Place::Unix(unix)),
            _ => None,
        })
    })
}

/// Returns the name as clients write it (the `ws` of Node.js, for one).
fn name(unix: &UnixAddress) -> String {
    match &unix.name {
        UnixName::Path(path) => path.display().to_string(),
        UnixName::Abstract(name) => format!("@{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(list: &str) -> Vec<Endpoint> {
        let addresses = ringsock::address::Address::list(list).unwrap();
        let places = ringsock::address::places(&addresses).unwrap();
        places.into_iter().map(|place| place.endpoints[0].clone()).collect()
    }

    #[test]
    fn clients_are_sent_to_a_tcp_address_if_there_is_one() {
        for (list, url_shown, try_shown) in [
            ("127.0.0.1:9000", "ws://127.0.0.1:9000/echo", "http://127.0.0.1:9000/ to try it"),
            ("unix:/run/a.sock,[::1]:9000", "ws://[::1]:9000/echo", "http://[::1]:9000/ to try it"),
            ("0.0.0.0:9000", "ws://0.0.0.0:9000/echo", "http://127.0.0.1:9000/ to try it"),
            (":9000", "ws://[::]:9000/echo", "http://127.0.0.1:9000/ to try it"),
            (
                "unix:/run/a.sock",
                "ws+unix:/run/a.sock:/echo",
                "curl --unix-socket /run/a.sock http://localhost/ to try it",
            ),
            ("unix:@a", "ws+unix:@a:/echo", "curl --abstract-unix-socket a http://localhost/ to try it"),
        ] {
            let endpoints = endpoints(list);
            assert_eq!(url(&endpoints, "ws", "/echo"), url_shown);
            assert_eq!(to_try_it(&endpoints, "http"), try_shown);
        }
    }

    #[test]
    fn all_of_them_are_listed_in_one_line() {
        let all = endpoints("127.0.0.1:9000,:9001,unix:/run/a.sock?mode=666,unix:@a");
        assert_eq!(list(&all), "127.0.0.1:9000, [::]:9001 and IPv4, unix:/run/a.sock?mode=666, unix:@a");
    }
}
