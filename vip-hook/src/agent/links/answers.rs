//! What nodes and Sentinels answer, as the state machine's types. Whatever a peer sends, there is an answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use redoubt_wire::resp::value::Value;

use crate::core::types::{Answer, Hint, NodeRole};

/// The longest text of a peer that is passed on.
const LONGEST_TEXT: usize = 200;

/// The reply to ROLE.
pub(crate) fn role(reply: &Value) -> NodeRole {
    if let Some(text) = reply.error_text() {
        return NodeRole::Unknown(printable(text));
    }
    match reply.as_slice().and_then(|items| items.first()).and_then(Value::as_bytes) {
        Some(b"master") => NodeRole::Master,
        Some(b"slave") => NodeRole::Replica,
        Some(b"sentinel") => NodeRole::Unknown("it is a Sentinel, not a node".into()),
        _ => NodeRole::Unknown("its reply to ROLE has no role".into()),
    }
}

/// What came of SENTINEL VOUCH.
#[derive(Debug, PartialEq)]
pub(in crate::agent) enum Vouch {
    /// An answer.
    Answer(Answer),
    /// It does not know the subcommand.
    Classic,
}

/// The reply to SENTINEL VOUCH.
///
/// Only the error for an unknown subcommand makes a classic Sentinel: a redoubt-sentinel that were asked with the
/// classic commands would not remember for whom it spoke.
pub(in crate::agent) fn vouch(reply: &Value) -> Vouch {
    if let Some(text) = reply.error_text() {
        let lower = text.to_ascii_lowercase();
        let has = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
        let classic = has(b"unknown") && has(b"subcommand");
        return if classic { Vouch::Classic } else { Vouch::Answer(Answer::Nothing(printable(text))) };
    }
    Vouch::Answer(
        vouch_answer(reply).unwrap_or_else(|| Answer::Nothing("its reply to VOUCH has another form".into())),
    )
}

fn vouch_answer(reply: &Value) -> Option<Answer> {
    let [kind, epoch, rest] = reply.as_slice()? else { return None };
    let epoch = u64::try_from(epoch.as_integer()?).ok()?;
    match kind.as_bytes()? {
        b"vouched" => {
            let other = Duration::from_millis(u64::try_from(rest.as_integer()?).ok()?);
            Some(Answer::Vouched { epoch, other })
        }
        b"refused" => Some(Answer::Refused { epoch, reason: printable(rest.as_bytes()?) }),
        _ => None,
    }
}

/// The reply to SENTINEL GET-MASTER-ADDR-BY-NAME.
pub(crate) fn address(reply: &Value) -> Result<SocketAddr, String> {
    match reply {
        Value::Error(text) => return Err(printable(text)),
        Value::Null | Value::NullArray => return Err("No such master with that name".into()),
        _ => {}
    }
    let form = || "its reply to GET-MASTER-ADDR-BY-NAME has another form".to_owned();
    let [host, port] = reply.as_slice().ok_or_else(form)? else { return Err(form()) };
    let host = printable(host.as_bytes().ok_or_else(form)?);
    let port = port.as_integer().and_then(|port| u16::try_from(port).ok()).ok_or_else(form)?;
    let ip: IpAddr = host.parse().map_err(|_| {
        format!("it names the master by the host name '{host}'; with 'sentinel announce-hostnames no' it gives addresses")
    })?;
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

/// A field of the reply to SENTINEL MASTER.
pub(crate) fn field<'a>(reply: &'a Value, name: &str) -> Result<&'a Value, String> {
    if let Some(text) = reply.error_text() {
        return Err(printable(text));
    }
    let is_it = |key: &Value| key.as_bytes() == Some(name.as_bytes());
    let found = match reply {
        Value::Map(pairs) => pairs.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value),
        other => other
            .as_slice()
            .and_then(|items| items.chunks_exact(2).find(|pair| is_it(&pair[0])).map(|pair| &pair[1])),
    };
    found.ok_or_else(|| format!("its reply to SENTINEL MASTER has no {name}"))
}

/// The configuration epoch in the reply to SENTINEL MASTER.
pub(crate) fn epoch(reply: &Value) -> Result<u64, String> {
    let value = field(reply, "config-epoch")?.as_integer();
    value.and_then(|epoch| u64::try_from(epoch).ok()).ok_or_else(|| "its config-epoch is no number".into())
}

/// The events of Sentinels that make a round due, and what they are about.
pub(crate) const CHANNELS: [&str; 6] =
    ["+odown", "-odown", "+try-failover", "+promoted-slave", "+switch-master", "+reset-master"];

/// A message of a subscription: the master's name and what it means.
pub(in crate::agent) fn event(message: &Value) -> Option<(String, Hint)> {
    let [kind, channel, text] = message.as_slice()? else { return None };
    if kind.as_bytes()? != b"message" {
        return None;
    }
    let text = std::str::from_utf8(text.as_bytes()?).ok()?;
    let hint = match channel.as_bytes()? {
        b"+odown" => Hint::Odown,
        b"+try-failover" => Hint::TryFailover,
        b"+switch-master" => {
            // <master> <old ip> <old port> <new ip> <new port>
            return Some((text.split(' ').next()?.to_owned(), Hint::SwitchMaster));
        }
        _ => Hint::Other,
    };
    // master <name> <ip> <port> …, or: slave <name> <ip> <port> @ <master> <ip> <port>
    let words: Vec<&str> = text.split(' ').take(8).collect();
    let name = match words[..] {
        ["master", name, ..] | ["slave", _, _, _, "@", name, ..] => name,
        _ => return None,
    };
    Some((name.to_owned(), hint))
}

/// A peer's text, bounded and without what could disturb a terminal or a log.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST_TEXT)]);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redoubt_wire::resp::value::decode;

    use super::*;

    fn value(text: &str) -> Value {
        decode(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn roles() {
        assert_eq!(role(&value("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")), NodeRole::Master);
        assert_eq!(
            role(&value("*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:1\r\n")),
            NodeRole::Replica
        );
        for other in
            ["*2\r\n$8\r\nsentinel\r\n*0\r\n", "-NOAUTH Authentication required.\r\n", "+OK\r\n", "*0\r\n"]
        {
            assert!(matches!(role(&value(other)), NodeRole::Unknown(_)), "{other}");
        }
    }

    #[test]
    fn vouching() {
        let other = Duration::from_millis(1234);
        let vouched = value("*3\r\n$7\r\nvouched\r\n:7\r\n:1234\r\n");
        assert_eq!(vouch(&vouched), Vouch::Answer(Answer::Vouched { epoch: 7, other }));
        let refused = value("*3\r\n$7\r\nrefused\r\n:7\r\n$26\r\nother-master 10.0.0.3 6379\r\n");
        let reason = "other-master 10.0.0.3 6379".to_owned();
        assert_eq!(vouch(&refused), Vouch::Answer(Answer::Refused { epoch: 7, reason }));
        for classic in [
            "-ERR Unknown sentinel subcommand 'VOUCH'\r\n",
            "-ERR unknown subcommand 'vouch'. Try SENTINEL HELP.\r\n",
            "-ERR Unknown subcommand or wrong number of arguments for 'VOUCH'. Try SENTINEL HELP.\r\n",
        ] {
            assert_eq!(vouch(&value(classic)), Vouch::Classic, "{classic}");
        }
        for nothing in [
            "-NOPERM User vip has no permissions to run the 'sentinel|vouch' command\r\n",
            "-ERR No such master with that name\r\n",
            "*3\r\n$7\r\nvouched\r\n:-7\r\n:1234\r\n",
            "*3\r\n$7\r\nvouched\r\n:7\r\n:-1\r\n",
            "*2\r\n$7\r\nvouched\r\n:7\r\n",
            "+OK\r\n",
        ] {
            assert!(matches!(vouch(&value(nothing)), Vouch::Answer(Answer::Nothing(_))), "{nothing}");
        }
    }

    #[test]
    fn classic_answers() {
        assert_eq!(
            address(&value("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n")),
            Ok("127.0.0.1:6379".parse().unwrap())
        );
        assert!(address(&value("*-1\r\n")).unwrap_err().contains("No such master"));
        assert!(
            address(&value("*2\r\n$6\r\ndb.lan\r\n$4\r\n6379\r\n"))
                .unwrap_err()
                .contains("announce-hostnames")
        );
        assert!(address(&value("*2\r\n$9\r\n127.0.0.1\r\n$5\r\n70000\r\n")).is_err());
        assert_eq!(
            epoch(&value("*4\r\n$4\r\nname\r\n$1\r\nm\r\n$12\r\nconfig-epoch\r\n$2\r\n12\r\n")),
            Ok(12)
        );
        assert!(epoch(&value("*2\r\n$4\r\nname\r\n$1\r\nm\r\n")).is_err());
        assert!(epoch(&value("-ERR No such master with that name\r\n")).unwrap_err().contains("No such"));
    }

    #[test]
    fn events_name_their_master() {
        let message = |channel: &str, text: &str| {
            let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
            event(&Value::Array(vec![bulk("message"), bulk(channel), bulk(text)]))
        };
        let named = |hint| Some(("m".to_owned(), hint));
        assert_eq!(message("+odown", "master m 10.0.0.1 6379 #quorum 2/2"), named(Hint::Odown));
        assert_eq!(message("+try-failover", "master m 10.0.0.1 6379"), named(Hint::TryFailover));
        assert_eq!(message("+switch-master", "m 10.0.0.1 6379 10.0.0.2 6379"), named(Hint::SwitchMaster));
        assert_eq!(
            message("+promoted-slave", "slave 10.0.0.2:6379 10.0.0.2 6379 @ m 10.0.0.1 6379"),
            named(Hint::Other)
        );
        assert_eq!(message("+odown", "sentinel x"), None);
    }

    proptest! {
        #[test]
        fn any_value_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64), shape in 0u8..6) {
            let reply = match shape {
                0 => Value::Error(bytes),
                1 => Value::Bulk(bytes),
                2 => Value::Array(vec![Value::Bulk(bytes.clone()), Value::Bulk(bytes)]),
                3 => Value::Array(vec![Value::Bulk(b"vouched".into()), Value::Bulk(bytes.clone()), Value::Bulk(bytes)]),
                4 => Value::Array(vec![Value::Bulk(b"message".into()), Value::Bulk(b"+odown".into()), Value::Bulk(bytes)]),
                _ => Value::Map(vec![(Value::Bulk(bytes), Value::Null)]),
            };
            role(&reply);
            vouch(&reply);
            let _ = (address(&reply), epoch(&reply), event(&reply));
        }
    }
}
