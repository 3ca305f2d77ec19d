//! `[[listen]]`: the addresses that a server listens on, and the settings of each.
//!
//! Each kind reads into all listeners of a list: those of one element of a file, or of the whole server where a
//! variable or a flag says it.

use super::kind::{Choice, Kind, Reason, Unit, quoted, rule, sentence};
use super::raw_value::RawValue;
use crate::address::{Address, Listen, ListenTls, UnixAddress, UnixName};

/// The addresses, of which each makes one listener.
pub(super) struct Addresses;

impl Unit for Addresses {
    fn unit(&self) -> String {
        "addresses".to_owned()
    }
}

impl Kind<Vec<Listen>> for Addresses {
    fn read(&self, raw: &RawValue, value: &mut Vec<Listen>) -> Result<(), Reason> {
        let items = match raw {
            // A port alone, for all addresses of this host.
            RawValue::Integer { digits, radix: 10 } => vec![digits.clone()],
            _ => {
                raw.items().ok_or_else(|| rule("must be an address, such as \"127.0.0.1:9000\", or a list of them"))?
            }
        };
        if items.is_empty() {
            return Err(rule("must name one address or more"));
        }
        let addresses = items.iter().map(|item| item.parse()).collect::<Result<Vec<Address>, _>>();
        let addresses = addresses.map_err(|error| Reason::Sentence(sentence(&error)))?;
        *value = addresses.into_iter().map(Listen::from).collect();
        Ok(())
    }

    fn write(&self, value: &Vec<Listen>) -> String {
        let items: Vec<String> = value.iter().map(|listen| quoted(&plain(&listen.address).to_string())).collect();
        if let [item] = &items[..] { item.clone() } else { format!("[{}]", items.join(", ")) }
    }
}

/// Returns the address, if it is a Unix socket with a file.
fn file(listen: &mut Listen) -> Option<&mut UnixAddress> {
    match &mut listen.address {
        Address::Unix(unix) => matches!(unix.name, UnixName::Path(_)).then_some(unix),
        _ => None,
    }
}

/// Returns an address without its mode and group.
fn plain(address: &Address) -> Address {
    match address {
        Address::Unix(unix) => Address::Unix(UnixAddress { mode: UnixAddress::MODE, group: None, ..unix.clone() }),
        other => other.clone(),
    }
}

/// The permissions of a Unix socket's file, in octal digits as chmod(1) takes them.
pub(super) struct Mode;

impl Unit for Mode {
    fn unit(&self) -> String {
        "octal digits".to_owned()
    }
}

impl Kind<Vec<Listen>> for Mode {
    fn read(&self, raw: &RawValue, value: &mut Vec<Listen>) -> Result<(), Reason> {
        let digits = match raw {
            RawValue::Untyped(digits) | RawValue::String(digits) => Some(digits),
            // 660 and 0o660 are the same permissions to whoever writes them.
            RawValue::Integer { digits, radix: 8 | 10 } => Some(digits),
            _ => None,
        };
        let mode = digits.and_then(|digits| UnixAddress::parse_mode(digits));
        let mode = mode.ok_or_else(|| rule("must be permissions in octal digits, such as \"660\""))?;
        for_each_file(value, |unix| unix.mode = mode)
    }

    fn write(&self, value: &Vec<Listen>) -> String {
        let mode = value.first().cloned().and_then(|mut listen| file(&mut listen).map(|unix| unix.mode));
        quoted(&format!("{:o}", mode.unwrap_or(UnixAddress::MODE)))
    }
}

/// The group of a Unix socket's file; empty for the server's own.
pub(super) struct Group;

impl Unit for Group {
    fn unit(&self) -> String {
        "name of a group".to_owned()
    }
}

impl Kind<Vec<Listen>> for Group {
    fn read(&self, raw: &RawValue, value: &mut Vec<Listen>) -> Result<(), Reason> {
        let group = raw.as_str().ok_or_else(|| rule("must be the name of a group, in quotes"))?;
        let group = Some(group.to_owned()).filter(|group| !group.is_empty());
        for_each_file(value, |unix| unix.group.clone_from(&group))
    }

    fn write(&self, value: &Vec<Listen>) -> String {
        let group = value.first().cloned().and_then(|mut listen| file(&mut listen).and_then(|unix| unix.group.clone()));
        quoted(&group.unwrap_or_default())
    }
}

/// Changes the Unix sockets with a file. Refuses to change none, unless what was written is the default.
fn for_each_file(listeners: &mut [Listen], mut change: impl FnMut(&mut UnixAddress)) -> Result<(), Reason> {
    let mut found = false;
    for unix in listeners.iter_mut().filter_map(file) {
        change(unix);
        found = true;
    }
    let mut usual = UnixAddress { name: UnixName::Path("/".into()), mode: UnixAddress::MODE, group: None };
    let before = usual.clone();
    change(&mut usual);
    if found || usual == before {
        return Ok(());
    }
    Err(Reason::Sentence(
        "No address of it is a Unix socket with a file, such as unix:/run/ringsock.sock. Leave it out.".to_owned(),
    ))
}

/// The choice of each listener between TLS and plain.
pub(super) struct Tls;

const TLS_CHOICES: Choice<ListenTls> =
    Choice(&[("auto", ListenTls::Auto), ("on", ListenTls::On), ("off", ListenTls::Off)]);

impl Unit for Tls {
    fn unit(&self) -> String {
        TLS_CHOICES.unit()
    }
}

impl Kind<Vec<Listen>> for Tls {
    fn read(&self, raw: &RawValue, value: &mut Vec<Listen>) -> Result<(), Reason> {
        value.iter_mut().try_for_each(|listen| TLS_CHOICES.read(raw, &mut listen.tls))
    }

    fn write(&self, value: &Vec<Listen>) -> String {
        TLS_CHOICES.write(&value.first().map_or(ListenTls::Auto, |listen| listen.tls))
    }
}

/// A property of each listener that is true or false.
pub(super) struct Each(pub(super) fn(&mut Listen) -> &mut bool);

impl Unit for Each {
    fn unit(&self) -> String {
        super::kind::Switch.unit()
    }
}

impl Kind<Vec<Listen>> for Each {
    fn read(&self, raw: &RawValue, value: &mut Vec<Listen>) -> Result<(), Reason> {
        value.iter_mut().try_for_each(|listen| super::kind::Switch.read(raw, (self.0)(listen)))
    }

    fn write(&self, value: &Vec<Listen>) -> String {
        value.first().cloned().is_some_and(|mut listen| *(self.0)(&mut listen)).to_string()
    }
}
