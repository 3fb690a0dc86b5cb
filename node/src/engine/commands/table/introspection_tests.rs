//! What COMMAND reports of this table.

use redoubt_wire::resp::reply::{Protocol, Reply};

use super::COMMANDS;
use crate::engine::commands::introspection::Catalogue;

const ALL: Catalogue<'static> = Catalogue::new(COMMANDS);

fn replied(protocol: Protocol, write: impl FnOnce(&mut Reply)) -> String {
    let mut reply = Reply::new(protocol);
    write(&mut reply);
    String::from_utf8(reply.buf).unwrap().replace("\r\n", " ")
}

/// Takes one value off the front of a reply, whatever it is made of.
fn skip(reply: &[u8]) -> &[u8] {
    let end = reply.windows(2).position(|w| w == b"\r\n").unwrap();
    let (line, mut rest) = (&reply[..end], &reply[end + 2..]);
    let n = || std::str::from_utf8(&line[1..]).unwrap().parse::<i64>().unwrap();
    match line[0] {
        b'+' | b'-' | b':' | b'_' => rest,
        b'$' if n() < 0 => rest,
        b'$' => &rest[n() as usize + 2..],
        kind => {
            for _ in 0..n() * if kind == b'%' { 2 } else { 1 } {
                rest = skip(rest);
            }
            rest
        }
    }
}

#[test]
fn every_reply_is_one_value() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        for write in
            [Catalogue::info_of_all, Catalogue::count, |c: &Catalogue<'_>, r: &mut Reply| c.docs(&[], r)]
        {
            let mut reply = Reply::new(protocol);
            write(&ALL, &mut reply);
            assert_eq!(skip(&reply.buf), b"");
        }
    }
}

#[test]
fn info_has_ten_elements() {
    assert_eq!(
        replied(Protocol::Resp3, |r| ALL.info(&[b"GET", b"nosuch", b"config|get|x"], r)),
        "*3 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 \
         ~1 %3 $5 flags ~2 +RO +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 \
         $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 ~0 _ _ "
    );
    let config = replied(Protocol::Resp2, |r| ALL.info(&[b"config"], r));
    assert!(
        config.starts_with("*1 *10 $6 config :-2 *0 :0 :0 :0 *1 +@slow *0 *0 *5 *10 $10 config|get :-3 "),
        "{config}"
    );
}

#[test]
fn ranges_and_movable_keys_follow_from_the_specs() {
    let range = |name: &str| {
        let spec = ALL.find(name.as_bytes()).unwrap();
        let (first, last, step) = spec.legacy_range();
        (first, last, step, spec.has_movable_keys())
    };
    assert_eq!(range("mset"), (1, -1, 2, false));
    assert_eq!(range("del"), (1, -1, 1, false));
    assert_eq!(range("rename"), (1, 2, 1, false));
    assert_eq!(range("sort"), (1, 1, 1, true));
    assert_eq!(range("migrate"), (3, 3, 1, true));
    assert_eq!(range("object|freq"), (2, 2, 1, false));
    assert_eq!(range("ping"), (0, 0, 0, false));
}

#[test]
fn docs_describe_arguments() {
    let docs = replied(Protocol::Resp3, |r| ALL.docs(&[b"getset", b"nosuch"], r));
    assert_eq!(
        docs,
        "%1 $6 getset %8 $7 summary $48 Sets a string and returns what was there before. $5 since $5 1.0.0 \
         $5 group $6 string $10 complexity $4 O(1) $9 doc_flags ~1 +deprecated $16 deprecated_since $5 6.2.0 \
         $11 replaced_by $29 `SET` with the `GET` argument $9 arguments *2 \
         %4 $4 name $3 key $4 type $3 key $12 display_text $3 key $14 key_spec_index :0 \
         %3 $4 name $5 value $4 type $6 string $12 display_text $5 value "
    );
    let config = replied(Protocol::Resp2, |r| ALL.docs(&[b"config|help"], r));
    assert!(config.starts_with("*2 $11 config|help *8 $7 summary "), "{config}");
}

#[test]
fn list_filters() {
    let list = |options: &[&[u8]]| replied(Protocol::Resp2, |r| ALL.list(options, r));
    let total = COMMANDS.iter().map(|spec| 1 + spec.subcommands.len()).sum::<usize>();
    assert!(list(&[]).starts_with(&format!("*{total} ")));
    assert_eq!(list(&[b"FILTERBY", b"pattern", b"get?*"]), "*4 $6 getdel $5 getex $8 getrange $6 getset ");
    assert_eq!(
        list(&[b"filterby", b"ACLCAT", b"transaction"]),
        "*5 $7 discard $4 exec $5 multi $7 unwatch $5 watch "
    );
    assert_eq!(list(&[b"filterby", b"aclcat", b"nosuch"]), "*0 ");
    assert_eq!(list(&[b"filterby", b"module", b"m"]), "*0 ");
    for wrong in
        [&[b"filterby".as_slice()] as &[&[u8]], &[b"filterby", b"x", b"y"], &[b"x", b"pattern", b"y"]]
    {
        assert_eq!(list(wrong), "-ERR syntax error ");
    }
}

#[test]
fn get_keys_answers_as_redis_does() {
    let keys = |words: &[&[u8]], flags| replied(Protocol::Resp2, |r| ALL.get_keys(words, flags, r));
    assert_eq!(keys(&[b"mset", b"a", b"1", b"b"], false), "*2 $1 a $1 b ");
    assert_eq!(keys(&[b"set", b"k", b"v", b"get"], true), "*1 *2 $1 k *3 +RW +access +update ");
    assert_eq!(keys(&[b"object", b"encoding", b"k"], false), "*1 $1 k ");
    assert_eq!(keys(&[b"nosuch"], false), "-ERR Invalid command specified ");
    assert_eq!(keys(&[b"ping", b"x"], false), "-ERR The command has no key arguments ");
    assert_eq!(keys(&[b"get"], false), "-ERR Invalid number of arguments specified for command ");
    let both: &[&[u8]] = &[b"migrate", b"h", b"1", b"k", b"0", b"10", b"keys", b"a"];
    assert_eq!(keys(both, true), "-ERR Invalid arguments specified for command ");
}
