//! Hides secrets in commands that are shown to people: MONITOR and SLOWLOG.

use super::commands::Command;
use crate::config::is_sensitive;

/// What stands in place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a call as they may be shown.
pub fn shown<'a>(command: &Command, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut shown = args.to_vec();
    match command.full_name.as_str() {
        "auth" => shown[1..].fill(REDACTED),
        "hello" => {
            let auth = args.iter().skip(2).position(|a| a.eq_ignore_ascii_case(b"auth"));
            if let Some(secrets) = auth.and_then(|at| shown.get_mut(at + 3..)) {
                secrets.iter_mut().take(2).for_each(|arg| *arg = REDACTED);
            }
        }
        "acl|setuser" => shown[2..].fill(REDACTED),
        "config|set" => {
            for pair in shown[2..].chunks_exact_mut(2) {
                if is_sensitive(pair[0]) {
                    pair[1] = REDACTED;
                }
            }
        }
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commands::COMMANDS;

    #[track_caller]
    fn check(args: &[&[u8]], expected: &[&[u8]]) {
        assert_eq!(shown(COMMANDS.resolve(args).unwrap(), args), expected);
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        check(&[b"AUTH", b"u", b"p"], &[b"AUTH", REDACTED, REDACTED]);
        check(
            &[b"HELLO", b"3", b"auth", b"u", b"p", b"SETNAME", b"n"],
            &[b"HELLO", b"3", b"auth", REDACTED, REDACTED, b"SETNAME", b"n"],
        );
        check(
            &[b"CONFIG", b"SET", b"port", b"1", b"RequirePass", b"p"],
            &[b"CONFIG", b"SET", b"port", b"1", b"RequirePass", REDACTED],
        );
        check(&[b"ACL", b"SETUSER", b"u", b">p"], &[b"ACL", b"SETUSER", REDACTED, REDACTED]);
        check(&[b"SET", b"requirepass", b"v"], &[b"SET", b"requirepass", b"v"]);
    }
}
