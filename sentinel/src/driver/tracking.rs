//! CLIENT TRACKING: what a client asked to be told of keys.
//!
//! A Sentinel has no keys, so nothing is ever invalidated; but libraries that turn tracking on for every
//! connection get the answers that they expect, and see their settings again.

use redoubt_wire::resp::number::parse_integer;
use redoubt_wire::resp::reply::Reply;

/// What one client has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    on: bool,
    bcast: bool,
    optin: bool,
    optout: bool,
    noloop: bool,
    /// CLIENT CACHING was called for the command that comes next.
    pub(super) caching: bool,
    /// The client that hears of it instead; 0: itself.
    redirect: u64,
    /// In order; with `bcast` only.
    prefixes: Vec<String>,
}

const ONCE: &str = "ERR A client can only redirect to a single other client";
const SYNTAX: &str = "ERR syntax error";

impl Tracking {
    /// CLIENT TRACKING ON|OFF [option …]; `exists` tells whether there is a client of that id.
    ///
    /// # Errors
    /// The error that is the reply; nothing has changed then.
    pub(super) fn set(&mut self, words: &[String], exists: impl Fn(u64) -> bool) -> Result<(), String> {
        let wanted = Tracking::parse(&words[1..], exists)?;
        match words[0].to_ascii_lowercase().as_str() {
            "on" => self.turn_on(wanted),
            "off" => {
                *self = Tracking::default();
                Ok(())
            }
            _ => Err(SYNTAX.into()),
        }
    }

    fn parse(mut words: &[String], exists: impl Fn(u64) -> bool) -> Result<Tracking, String> {
        let mut wanted = Tracking::default();
        while let Some((option, rest)) = words.split_first() {
            words = rest;
            match (option.to_ascii_lowercase().as_str(), rest) {
                ("redirect", [_, ..]) if wanted.redirect != 0 => return Err(ONCE.into()),
                ("redirect", [id, rest @ ..]) => {
                    let id =
                        parse_integer(id.as_bytes()).ok_or("ERR value is not an integer or out of range")?;
                    let known = u64::try_from(id).ok().filter(|id| exists(*id));
                    wanted.redirect = known.ok_or("ERR The client ID you want redirect to does not exist")?;
                    words = rest;
                }
                ("prefix", [prefix, rest @ ..]) => {
                    wanted.prefixes.push(prefix.clone());
                    words = rest;
                }
                ("bcast", _) => wanted.bcast = true,
                ("optin", _) => wanted.optin = true,
                ("optout", _) => wanted.optout = true,
                ("noloop", _) => wanted.noloop = true,
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(wanted)
    }

    fn turn_on(&mut self, mut wanted: Tracking) -> Result<(), String> {
        let refuse = |text: &str| Err(format!("ERR {text}"));
        if !wanted.bcast && !wanted.prefixes.is_empty() {
            return refuse("PREFIX option requires BCAST mode to be enabled");
        }
        if self.on && self.bcast != wanted.bcast {
            return refuse(
                "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
            );
        }
        if wanted.bcast && (wanted.optin || wanted.optout) {
            return refuse("OPTIN and OPTOUT are not compatible with BCAST");
        }
        if wanted.optin && wanted.optout {
            return refuse("You can't specify both OPTIN mode and OPTOUT mode");
        }
        if (wanted.optin && self.optout) || (wanted.optout && self.optin) {
            return refuse(
                "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
            );
        }
        if wanted.bcast {
            self.check_overlaps(&wanted.prefixes)?;
            if wanted.prefixes.is_empty() {
                wanted.prefixes.push(String::new());
            }
            wanted.prefixes.extend(self.prefixes.iter().cloned());
            wanted.prefixes.sort_unstable();
            wanted.prefixes.dedup();
        }
        *self = Tracking { on: true, caching: self.caching, ..wanted };
        Ok(())
    }

    fn check_overlaps(&self, prefixes: &[String]) -> Result<(), String> {
        let overlap = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
        let text = |prefix: &str, which: &str, other: &str| {
            format!(
                "ERR Prefix '{prefix}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not overlap."
            )
        };
        for (n, prefix) in prefixes.iter().enumerate() {
            if let Some(other) = self.prefixes.iter().find(|other| overlap(prefix, other)) {
                return Err(text(prefix, "an existing", other));
            }
            if let Some(other) = prefixes[n + 1..].iter().find(|other| overlap(prefix, other)) {
                return Err(text(prefix, "another provided", other));
            }
        }
        Ok(())
    }

    /// CLIENT CACHING YES|NO.
    ///
    /// # Errors
    /// The error that is the reply.
    pub(super) fn set_caching(&mut self, word: &str) -> Result<(), String> {
        if !self.on {
            return Err(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
                    .into(),
            );
        }
        let (fits, name, mode) = match word.to_ascii_lowercase().as_str() {
            "yes" => (self.optin, "YES", "OPTIN"),
            "no" => (self.optout, "NO", "OPTOUT"),
            _ => return Err(SYNTAX.into()),
        };
        if !fits {
            return Err(format!(
                "ERR CLIENT CACHING {name} is only valid when tracking is enabled in {mode} mode."
            ));
        }
        self.caching = true;
        Ok(())
    }

    /// CLIENT GETREDIR: the client that is told instead, 0 for none, -1 without tracking.
    pub(super) fn redirection(&self) -> i64 {
        if self.on { self.redirect as i64 } else { -1 }
    }

    /// Whether it is on.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether it is on in broadcasting mode.
    pub(super) fn broadcasts(&self) -> bool {
        self.bcast
    }

    /// CLIENT TRACKINGINFO.
    pub(super) fn describe(&self, reply: &mut Reply) {
        let flags = [
            (if self.on { "on" } else { "off" }, true),
            ("bcast", self.bcast),
            ("optin", self.optin),
            ("caching-yes", self.optin && self.caching),
            ("optout", self.optout),
            ("caching-no", self.optout && self.caching),
            ("noloop", self.noloop),
        ];
        let set: Vec<&str> = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(set.len());
        set.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
        reply.bulk(b"redirect");
        reply.integer(self.redirection());
        reply.bulk(b"prefixes");
        reply.array(self.prefixes.len());
        self.prefixes.iter().for_each(|prefix| reply.bulk(prefix.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use redoubt_wire::resp::reply::Protocol;

    use super::*;

    fn set(tracking: &mut Tracking, line: &str) -> Result<(), String> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        tracking.set(&words, |id| id == 7)
    }

    fn shown(tracking: &Tracking) -> String {
        let mut reply = Reply::new(Protocol::Resp3);
        tracking.describe(&mut reply);
        String::from_utf8(reply.buf).unwrap()
    }

    #[test]
    fn settings_are_seen_again() {
        let mut t = Tracking::default();
        assert_eq!(t.redirection(), -1);
        set(&mut t, "on optin noloop redirect 7").unwrap();
        assert_eq!(t.redirection(), 7);
        t.set_caching("yes").unwrap();
        assert!(
            shown(&t).contains("~4\r\n$2\r\non\r\n$5\r\noptin\r\n$11\r\ncaching-yes\r\n$6\r\nnoloop\r\n")
        );
        set(&mut t, "off").unwrap();
        set(&mut t, "on bcast prefix b prefix a").unwrap();
        set(&mut t, "on bcast prefix c").unwrap();
        assert!(shown(&t).ends_with("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"));
    }

    #[test]
    fn what_contradicts_itself_changes_nothing() {
        for (before, line, error) in [
            ("off", "on prefix a", "PREFIX option requires BCAST mode to be enabled"),
            ("off", "on bcast optin", "OPTIN and OPTOUT are not compatible with BCAST"),
            ("off", "on optin optout", "You can't specify both OPTIN mode and OPTOUT mode"),
            ("off", "on redirect 8", "The client ID you want redirect to does not exist"),
            ("off", "on redirect 7 redirect 7", "A client can only redirect to a single other client"),
            ("off", "maybe", "syntax error"),
            ("on", "on bcast", "You can't switch BCAST mode on/off"),
            ("on optin", "on optout", "You can't switch OPTIN/OPTOUT mode"),
            ("on bcast prefix ab", "on bcast prefix a", "Prefix 'a' overlaps with an existing prefix 'ab'"),
            ("off", "on bcast prefix a prefix ab", "Prefix 'a' overlaps with another provided prefix 'ab'"),
        ] {
            let mut t = Tracking::default();
            set(&mut t, before).unwrap();
            let old = t.clone();
            let refused = set(&mut t, line).unwrap_err();
            assert!(refused.starts_with(&format!("ERR {error}")), "{line}: {refused}");
            assert_eq!(t, old);
        }
        assert!(Tracking::default().set_caching("yes").unwrap_err().contains("can be called only when"));
    }
}
