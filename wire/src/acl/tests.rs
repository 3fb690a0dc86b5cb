//! Tests of the rules as a whole: what is read, what is described, what is allowed.

use std::sync::LazyLock;

use proptest::prelude::*;
use smallvec::smallvec;

use super::*;
use crate::quoting::split;

/// A few commands, with subcommands and without.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let (read, write) = (Categories::READ, Categories::WRITE);
    let known = [
        ("auth", Categories::CONNECTION),
        ("config", Categories::SLOW),
        ("config|get", Categories::ADMIN.with(Categories::SLOW)),
        ("config|set", Categories::ADMIN.with(Categories::SLOW)),
        ("debug", Categories::ADMIN.with(Categories::SLOW)),
        ("get", read.with(Categories::STRING).with(Categories::FAST)),
        ("mget", read.with(Categories::STRING).with(Categories::FAST)),
        ("object", Categories::SLOW),
        ("object|freq", read.with(Categories::KEYSPACE).with(Categories::SLOW)),
        ("publish", Categories::PUBSUB.with(Categories::FAST)),
        ("select", Categories::CONNECTION.with(Categories::FAST)),
        ("set", write.with(Categories::STRING).with(Categories::SLOW)),
        ("subscribe", Categories::PUBSUB.with(Categories::SLOW)),
    ];
    Catalog::new(known, &["get", "hget", "script", "script|kill"])
});

fn users() -> Users {
    Users::new(&CATALOG, false)
}

fn words(rules: &str) -> Vec<&[u8]> {
    rules.split(' ').map(str::as_bytes).collect()
}

/// A new user made by these rules.
fn made(rules: &str) -> User {
    User::clone(&users().set(b"u", &words(rules)).unwrap().now)
}

fn described(rules: &str) -> String {
    String::from_utf8(made(rules).description()).unwrap()
}

fn commands(rules: &str) -> String {
    String::from_utf8(made(rules).root().commands()).unwrap()
}

fn refused(rules: &str) -> String {
    users().set(b"u", &words(rules)).unwrap_err()
}

/// Holds a call against the user. Keys are the words with a `r:`, `w:`, `rw:` or `-:` in front.
fn check(user: &User, call: &str) -> Result<(), Denied> {
    let words = words(call);
    let sub = words.get(1).map(|sub| [words[0], sub].join(&b'|')).and_then(|full| CATALOG.find(&full));
    let command = sub.or_else(|| CATALOG.find(words[0])).unwrap();
    let keys = || -> KeyUses {
        let access = |word: &[u8]| match word.split(|b| *b == b':').next() {
            Some(b"r") => Some(Access::READ),
            Some(b"w") => Some(Access::WRITE),
            Some(b"rw") => Some(Access::BOTH),
            Some(b"-") => Some(Access::NONE),
            _ => None,
        };
        let at = |(position, word): (usize, &&[u8])| access(word).map(|access| KeyUse { position, access });
        words.iter().enumerate().filter_map(at).collect()
    };
    let channels = match words[0] {
        b"publish" => ChannelUses { words: 1..2, are_patterns: false },
        b"subscribe" => ChannelUses { words: 1..words.len(), are_patterns: false },
        _ => ChannelUses::default(),
    };
    let before_login = words[0] == b"auth";
    user.check(&Call { command, before_login, words: &words, keys: &keys, channels })
}

#[test]
fn the_default_user_may_do_everything_and_others_nothing() {
    let users = users();
    let default = users.default_user();
    assert!(default.is_open() && default.is_unrestricted());
    assert_eq!(default.description(), b"on nopass sanitize-payload ~* &* +@all");
    assert_eq!(described(""), "off sanitize-payload resetchannels -@all");
    assert!(!made("").is_unrestricted());
    assert!(made("+@all (~* &* +@all)").is_unrestricted());
    assert!(!made("+@all ~* (&*)").is_unrestricted(), "selectors do not add up");
}

#[test]
fn descriptions_are_those_of_redis() {
    for (rules, description) in [
        ("on nopass resetchannels &foo +@all", "on nopass sanitize-payload resetchannels &foo +@all"),
        ("allkeys ~* allchannels on", "on sanitize-payload ~* &* -@all"),
        (
            "%R~foo %W~bar ~baz %r~foo %Rw~qux &c &c",
            "off sanitize-payload %R~foo %W~bar ~baz ~qux resetchannels &c -@all",
        ),
        ("%R~foo %W~foo", "off sanitize-payload ~foo resetchannels -@all"),
        ("%R~* %W~a %W~*", "off sanitize-payload ~* resetchannels -@all"),
        ("skip-sanitize-payload ~ &", "off skip-sanitize-payload ~ resetchannels & -@all"),
        (
            "( ~k +get ) (-@all +set &c)",
            "off sanitize-payload resetchannels -@all (~k resetchannels -@all +get) (resetchannels &c -@all +set)",
        ),
        ("~k (~a) on reset", "off sanitize-payload resetchannels -@all"),
        ("~k (~a) clearselectors", "off sanitize-payload ~k resetchannels -@all"),
        (
            ">p #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940",
            "off sanitize-payload #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940 resetchannels -@all",
        ),
        (">p nopass", "off nopass sanitize-payload resetchannels -@all"),
        ("nopass resetpass", "off sanitize-payload resetchannels -@all"),
    ] {
        assert_eq!(described(rules), description, "{rules}");
    }
}

#[test]
fn of_rules_about_commands_those_that_matter_are_kept() {
    for (rules, kept) in [
        ("+@all -@string -@slow +get", "+@all -@string -@slow +get"),
        ("+@all -@string +get -@string", "+@all +get -@string"),
        ("+@all -@string +@string", "+@all +@string"),
        ("-@string +@all", "+@all"),
        ("+@STRING +@string +GET +get", "-@all +@string +get"),
        ("+get -set +set -get", "-@all +set -get"),
        ("+config|get +config|get +config +object|freq -object", "-@all +config -object"),
        ("+select|0 +select|0 +debug|segfault +debug", "-@all +select|0 +debug"),
        ("-@dangerous", "-@all -@dangerous"),
        ("+config +config|get -config|set +config", "-@all +config"),
        ("+@all +config|get", "+@all +config|get"),
        ("+debug|a +debug|B nocommands", "-@all"),
        ("+hget +script|kill +HGET", "-@all +script|kill +hget"),
        ("+@all -script|kill -script", "+@all -script"),
        ("+set +mset", "unknown"),
    ] {
        if kept == "unknown" {
            assert!(refused(rules).ends_with("'+mset': Unknown command or category name in ACL"));
        } else {
            assert_eq!(commands(rules), kept, "{rules}");
        }
    }
}

#[test]
fn errors_are_those_of_redis() {
    let modifier = |word: &str, why: &str| format!("Error in ACL SETUSER modifier '{word}': {why}");
    let unknown = "Unknown command or category name in ACL";
    for (word, why) in [
        ("frob", "Syntax error"),
        (")", "Syntax error"),
        ("%~k", "Syntax error"),
        ("%R", "Syntax error"),
        ("%RR~k", "Syntax error"),
        ("%X~k", "Syntax error"),
        ("~a\tb", "Syntax error"),
        ("~a\0b", "Syntax error"),
        ("&a\x0bb", "Syntax error"),
        ("+select|a\tb", "Syntax error"),
        ("+debug|", "Syntax error"),
        ("(~a\"b)", "Syntax error"),
        ("(frob)", "Syntax error"),
        ("+nope", unknown),
        ("-nope", unknown),
        ("+@nope", unknown),
        ("-@nope", unknown),
        ("+", unknown),
        ("+|a", unknown),
        ("+config|nope", unknown),
        ("-config|nope", unknown),
        ("-config|", unknown),
        ("-select|0", unknown),
        ("+get|a|b", unknown),
        ("+config|get|port", "Allowing first-arg of a subcommand is not supported"),
        ("<p", "The password you are trying to remove from the user does not exist"),
        (
            "#148d",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        (
            "!148D",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
    ] {
        assert_eq!(users().set(b"u", &[word.as_bytes()]).unwrap_err(), modifier(word, why));
    }
    assert!(refused("~* ~a").contains("'~a': Adding a pattern after the * pattern (or the 'allkeys' flag)"));
    assert!(refused("&* &a").ends_with("Try 'resetchannels' to start with an empty list of channels"));
    assert!(refused("(&* &a)").contains("modifier '(&* &a)': Adding a pattern after the"));
    assert_eq!(refused("(+get (+select (+set"), "Unmatched parenthesis in acl selector starting at '(+get'.");
    assert_eq!(refused("(+get (+select (+set ) ) ) "), modifier("(+get (+select (+set )", "Syntax error"));
    assert_eq!(
        users().set(b"a a", &[b"on"]).unwrap_err(),
        "Usernames can't contain spaces or null characters"
    );
}

#[test]
fn a_change_is_made_as_a_whole_or_not_at_all() {
    let mut users = users();
    users.set(b"u", &words("on >p ~a")).unwrap();
    assert!(users.set(b"u", &words("off resetkeys frob")).is_err());
    assert!(users.set(b"v", &words("on frob")).is_err());
    assert!(users.get(b"v").is_none());
    let change = users.set(b"u", &words("off")).unwrap();
    assert!(change.before.unwrap().is_enabled() && !change.now.is_enabled());
    assert_eq!(change.now.root().keys(), b"~a");
}

#[test]
fn logging_in_needs_an_enabled_user_and_one_of_its_passwords() {
    let mut users = users();
    let log_in = |users: &Users, password: &[u8]| users.log_in(b"u", password).is_some();
    assert!(!log_in(&users, b"p"), "there is no such user");
    users.set(b"u", &words(">p >q")).unwrap();
    assert!(!log_in(&users, b"p"), "off");
    users.set(b"u", &words("on")).unwrap();
    assert!(log_in(&users, b"p") && log_in(&users, b"q") && !log_in(&users, b"r"));
    users.set(b"u", &words("<p")).unwrap();
    assert!(!log_in(&users, b"p"));
    users.set(b"u", &words("nopass")).unwrap();
    assert!(log_in(&users, b"anything"));
    users.set(b"u", &words("resetpass")).unwrap();
    assert!(!log_in(&users, b"anything"));
    users.set(b"u", &words("nopass off")).unwrap();
    assert!(!log_in(&users, b"anything"));
}

#[test]
fn requirepass_is_the_default_users_password() {
    let mut users = users();
    users.set_default_password(Some(b"a b\0"));
    assert!(!users.default_user().is_open());
    assert!(users.log_in(DEFAULT_USER, b"a b\0").is_some() && users.log_in(DEFAULT_USER, b"a b").is_none());
    users.set_default_password(None);
    assert!(users.default_user().is_open());
    assert!(users.delete(DEFAULT_USER).is_none());
}

#[test]
fn commands_are_checked_with_their_subcommands_and_first_arguments() {
    for (rules, allowed, denied) in [
        ("+get", &["get k"][..], &["set k", "config get"][..]),
        ("+@all -config|set", &["config get", "get k"], &["config set"]),
        ("+config -config|set", &["config get"], &["config set", "get k"]),
        ("+@admin", &["config get", "debug x"], &["get k"]),
        ("+@slow", &["config get", "object freq", "set k"], &["get k"]),
        ("+select|0 +debug|Object", &["select 0", "debug OBJECT"], &["select 1", "debug", "debug segfault"]),
        ("+select|0 -@fast", &["auth p"], &["select 0"]),
        ("+@all -auth", &["auth p"], &[]),
        ("+@all -hget", &["get k"], &[]),
    ] {
        let user = made(rules);
        allowed.iter().for_each(|call| assert_eq!(check(&user, call), Ok(()), "{rules}: {call}"));
        denied
            .iter()
            .for_each(|call| assert_eq!(check(&user, call), Err(Denied::Command), "{rules}: {call}"));
    }
}

#[test]
fn keys_are_checked_by_pattern_and_access() {
    let user = made("+@all ~r*:open* %R~r:* %W~w:*");
    for call in ["get r:1", "set w:1", "mget r:1 r:2", "get rw:open", "get -:", "set -:x"] {
        let expected = if call.contains("-:") { Err(Denied::Key(1)) } else { Ok(()) };
        assert_eq!(check(&user, call), expected, "{call}");
    }
    assert_eq!(check(&user, "mget r:1 w:1 rw:r:1"), Err(Denied::Key(3)));
    assert_eq!(
        check(&made("+@all %R~-*"), "get -:x"),
        Ok(()),
        "any access lets one ask whether a key exists"
    );
    assert_eq!(check(&made("+@all"), "get r:1"), Err(Denied::Key(1)));
    assert_eq!(check(&made("+@all"), "select 0"), Ok(()), "no keys, nothing to deny");
}

#[test]
fn channels_are_checked_by_pattern_and_patterns_literally() {
    let user = made("+@all &news:* &x");
    assert_eq!(check(&user, "publish news:a m"), Ok(()));
    assert_eq!(check(&user, "publish other news:a"), Err(Denied::Channel(1)));
    assert_eq!(check(&user, "subscribe x news:b y"), Err(Denied::Channel(3)));
    assert!(user.may_listen(b"news:*", true) && !user.may_listen(b"news:a*", true));
    assert!(user.may_listen(b"news:a", false) && !user.may_listen(b"n", false));
    let more = made("&x &news:* (&y)");
    assert!(more.keeps_channels_of(&user) && !user.keeps_channels_of(&more));
    assert!(made("&x (&*)").keeps_channels_of(&more) && !more.keeps_channels_of(&made("&*")));
    assert!(made("(&*)").may_listen(b"q", true));
}

#[test]
fn one_selector_alone_has_to_allow_a_call() {
    let user = made("(+get %R~r:*) (+set %W~w:*)");
    assert_eq!(check(&user, "get r:1"), Ok(()));
    assert_eq!(check(&user, "set w:1"), Ok(()));
    assert_eq!(check(&user, "set r:1"), Err(Denied::Key(1)));
    assert_eq!(check(&user, "mget r:1"), Err(Denied::Command));
    let user = made("+mget ~r:a (+mget ~r:a ~r:b)");
    assert_eq!(check(&user, "mget r:b r:c"), Err(Denied::Key(2)), "the last that no selector matches");
    let user = made("+publish (~k)");
    assert_eq!(check(&user, "publish c m"), Err(Denied::Channel(1)), "a channel before a command");
}

#[test]
fn keys_are_asked_for_once_and_only_where_they_matter() {
    let asked = std::cell::Cell::new(0);
    let keys = || -> KeyUses {
        asked.set(asked.get() + 1);
        smallvec![KeyUse { position: 1, access: Access::READ }]
    };
    let command = CATALOG.find(b"get").unwrap();
    let words: [&[u8]; 2] = [b"get", b"k"];
    let channels = ChannelUses::default();
    let call = Call { command, before_login: false, words: &words, keys: &keys, channels };
    assert_eq!(made("~a +set (~* +get)").check(&call), Ok(()));
    assert_eq!(asked.get(), 0);
    assert_eq!(made("~a +get (~b +get)").check(&call), Err(Denied::Key(1)));
    assert_eq!(asked.get(), 1);
    assert!(made("(~k +get) (%R~* +get)").check_with_all_keys(&call, Access::READ));
    assert!(!made("(~k +get) (%W~* +get) (%R~* +set)").check_with_all_keys(&call, Access::READ));
}

#[test]
fn texts_of_denials() {
    let user = made("");
    let words: [&[u8]; 2] = [b"get", b"k"];
    let full = |denied: Denied| denied.full_text(&user, "get", &words);
    assert_eq!(full(Denied::Command), "User u has no permissions to run the 'get' command");
    assert_eq!(full(Denied::Key(1)), "User u has no permissions to access the 'k' key");
    assert_eq!(full(Denied::Channel(1)), "User u has no permissions to access the 'k' channel");
    assert_eq!(Denied::Key(1).text(&user, "get"), "No permissions to access a key");
}

fn from_lines(lines: &[&str]) -> Result<Users, (usize, String)> {
    let lines: Vec<Vec<Vec<u8>>> = lines.iter().map(|line| split(line.as_bytes()).unwrap()).collect();
    Users::from_lines(&CATALOG, false, Some(b"pw"), lines.iter().map(Vec::as_slice))
}

#[test]
fn lines_of_a_configuration_make_users() {
    let users = from_lines(&["alice on >p (~a +get ) \"(~b +set)\"", "bob"]).unwrap();
    assert_eq!(users.iter().len(), 3);
    assert_eq!(users.get(b"alice").unwrap().other_selectors().len(), 2);
    assert!(users.log_in(DEFAULT_USER, b"pw").is_some());
    let users = from_lines(&["default on nopass ~* +@all"]).unwrap();
    assert!(users.default_user().is_open(), "a line of the default user takes the place of requirepass");
    assert_eq!(users.default_user().root().channels(), b"");
    for (lines, at, error) in [
        (&["foo", "foo"][..], 1, "Error in user declaration 'foo': Duplicate user found."),
        (&["default", "default"], 1, "Error in user declaration 'default': Duplicate user found."),
        (&["a on", ""], 1, "Bad directive or wrong number of arguments"),
        (&["a (~b"], 0, "Unmatched parenthesis in acl selector starting at '(~b'."),
        (&["a frob"], 0, "Error in user declaration 'frob': Syntax error"),
        (&["a +frob"], 0, "Error loading ACL rule '+frob' for the user named 'a': Unknown command"),
        (&["\"a b\" on"], 0, "Spaces not allowed in ACL usernames"),
    ] {
        let (place, text) = from_lines(lines).unwrap_err();
        assert!(place == at && text.starts_with(error), "{lines:?}: {place} {text}");
    }
}

#[test]
fn the_default_user_has_a_line_only_where_requirepass_does_not_say_it_all() {
    let mut users = from_lines(&[]).unwrap();
    assert_eq!(users.lines(Some(b"pw")), []);
    assert_eq!(users.lines(None).len(), 1);
    users.set(DEFAULT_USER, &[b"-get"]).unwrap();
    let lines = users.lines(Some(b"pw"));
    assert!(lines[0].1.starts_with(b"default on sanitize-payload #") && lines[0].1.ends_with(b" +@all -get"));
}

#[test]
fn an_acl_file_replaces_all_users() {
    let mut users = users();
    users.set(b"old", &words("on")).unwrap();
    users.load(b"user bob on -@all +@read ~s* &* >bob\r\n\n  user alice on (+get ~rw*)", "u.acl").unwrap();
    let names: Vec<_> = users.iter().map(|user| user.shown_name().into_owned()).collect();
    assert_eq!(names, ["alice", "bob", "default"]);
    assert!(users.default_user().is_open());
    let mut again = self::users();
    again.load(&users.to_file(), "u.acl").unwrap();
    assert!(again.iter().eq(users.iter()));
}

#[test]
fn an_acl_file_with_errors_changes_nothing() {
    let mut users = users();
    users.set(b"old", &words("on")).unwrap();
    let text =
        b"user a frob +nope ~* ~b\nuser a on\n# no comments\nuser a\tb\nuser\nuser c (~x\nuser \xff +nope";
    assert_eq!(
        users.load(text, "u.acl").unwrap_err(),
        "u.acl:1: Syntax error. u.acl:1: Error in applying operation '+nope': Unknown command or category name in ACL. \
         WARNING: Duplicate user 'a' found on line 2. \
         u.acl:3 should start with user keyword followed by the username. \
         'u.acl:4: username 'a\tb' contains invalid characters. \
         u.acl:5 should start with user keyword followed by the username. \
         u.acl:6: Unmatched parenthesis in selector definition.\
         u.acl:7: Error in applying operation '+nope': Unknown command or category name in ACL. \
         WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    );
    assert!(users.get(b"old").is_some() && users.get(b"a").is_none());
}

#[test]
fn secrets_have_as_many_digits_as_they_have_bits() {
    for (bits, digits) in [(None, 64), (Some("5"), 2), (Some("1"), 1), (Some("4096"), 1024)] {
        assert_eq!(answers::password_digits(bits.map(str::as_bytes)), Ok(digits));
    }
    for bits in ["0", "-236", "4097"] {
        let error = answers::password_digits(Some(bits.as_bytes())).unwrap_err();
        assert!(error.starts_with("ERR ACL GENPASS argument must be the number of bits"), "{bits}");
    }
    assert!(answers::password_digits(Some(b"x")).unwrap_err().starts_with("ERR value is not an integer"));
    assert_eq!(answers::password(&[0x1a, 0xff, 0x03], 5), "1aff0");
}

/// Words that are rules, and words that nearly are.
fn rule_words() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(
        &[
            "on",
            "off",
            "nopass",
            "resetpass",
            ">p",
            ">q",
            "<p",
            "reset",
            "allkeys",
            "resetkeys",
            "allchannels",
            "resetchannels",
            "clearselectors",
            "skip-sanitize-payload",
            "sanitize-payload",
            "+@all",
            "-@all",
            "+@read",
            "-@read",
            "+@slow",
            "-@slow",
            "+get",
            "-get",
            "+config",
            "-config",
            "+config|get",
            "-config|set",
            "+select|0",
            "+hget",
            "-script|kill",
            "+script",
            "+select|1",
            "+select|\"x",
            "-select",
            "+debug|a)",
            "+debug",
            "-debug",
            "%R~*",
            "%W~*",
            "%RW~a*",
            "~*",
            "&*",
            "(",
            ")",
            "(+@read",
            "~a)",
            "(~b)",
            "(~c %W~d &e +@all -set)",
            "(%R~* %W~* +get)",
            "(\"~x)\" '~y\"' +select|2)",
            "()",
        ][..],
    )
    .prop_map(|word| word.as_bytes().to_vec());
    let pattern = (
        prop::sample::select(&["~", "%R~", "%W~", "&", "(~", "+select|"][..]),
        prop::collection::vec(any::<u8>(), 0..6),
    )
        .prop_map(|(prefix, rest)| [prefix.as_bytes(), &rest].concat());
    let odd = (prop::sample::select(&["~", "%R~", "&", "+debug|"][..]), "[ab()\"'\\\\*|]{0,5}")
        .prop_map(|(prefix, rest)| [prefix.as_bytes(), rest.as_bytes()].concat());
    let selector = prop::collection::vec(odd.clone(), 1..4).prop_map(|words| {
        let quoted: Vec<String> = words.iter().map(|w| crate::quoting::quote_always(w)).collect();
        format!("({})", quoted.join(" ")).into_bytes()
    });
    prop_oneof![6 => fixed, 2 => pattern, 2 => odd, 2 => selector]
}

/// Gives a user the rules one by one, so that one that is refused does not undo the others.
fn grown(all_channels: bool, rules: &[Vec<u8>]) -> Users {
    let mut users = Users::new(&CATALOG, all_channels);
    users.set::<&[u8]>(b"u", &[]).unwrap();
    for rule in rules {
        let _ = users.set(b"u", &[rule]);
    }
    users
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// What describes a user makes the same user, by every way that a description takes: as
    /// arguments of ACL SETUSER, in an ACL file, in a line of a configuration.
    #[test]
    fn descriptions_read_back(all_channels: bool, default_now: bool, rules in prop::collection::vec(rule_words(), 0..12)) {
        let users = grown(all_channels, &rules);
        let user = users.get(b"u").unwrap();
        let description = user.description();
        let words: Vec<&[u8]> = description.split(|byte| *byte == b' ').collect();
        let again = Users::new(&CATALOG, default_now).set(b"u", &words).unwrap().now;
        prop_assert_eq!(&again, user, "{}", String::from_utf8_lossy(&description));
        prop_assert_eq!(again.description(), description);

        let mut loaded = Users::new(&CATALOG, default_now);
        loaded.load(&users.to_file(), "u.acl").unwrap();
        prop_assert!(loaded.iter().eq(users.iter()));

        let lines: Vec<Vec<Vec<u8>>> = users.lines(None).iter().map(|(_, line)| split(line).unwrap()).collect();
        let read = Users::from_lines(&CATALOG, default_now, None, lines.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(read.get(b"u"), Some(user));
    }

    /// Whatever the rules, a user who may do everything is denied nothing, and one who is denied
    /// everything is allowed nothing but what comes before logging in.
    #[test]
    fn the_shortcut_agrees_with_the_check(rules in prop::collection::vec(rule_words(), 0..12), call in prop::sample::select(&["get r:a", "set w:b", "config set", "select 0", "publish c m", "debug x", "mget r:a w:b"][..])) {
        let users = grown(false, &rules);
        let user = users.get(b"u").unwrap();
        if user.is_unrestricted() {
            prop_assert_eq!(check(user, call), Ok(()));
        }
        let mut users = users.clone();
        let nobody = users.set(b"u", &words("-@all clearselectors")).unwrap().now;
        prop_assert!(check(&nobody, call).is_err());
        prop_assert_eq!(check(&nobody, "auth p"), Ok(()));
    }

    /// A rule that takes away does take away: after `-command` no call of it passes, whatever came before.
    #[test]
    fn what_is_taken_away_is_gone(rules in prop::collection::vec(rule_words(), 0..12), call in prop::sample::select(&["get r:a", "set w:b", "config set", "select 0", "debug a)"][..])) {
        let mut users = grown(false, &rules);
        let minus = format!("-{}", call.split(' ').next().unwrap());
        let user = users.set(b"u", &[b"clearselectors", minus.as_bytes()]).unwrap().now;
        prop_assert_eq!(check(&user, call), Err(Denied::Command));
        let user = users.set(b"u", &[&b"+@all"[..], b"resetkeys"]).unwrap().now;
        if call.contains(':') {
            prop_assert!(matches!(check(&user, call), Err(Denied::Key(_))));
        }
    }

    #[test]
    fn any_bytes_are_rules_or_refused(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..5), text in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut users = users();
        let _ = users.set(b"u", &words);
        let _ = users.load(&text, "u.acl");
    }
}
