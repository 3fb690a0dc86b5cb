//! Whatever rules make a user, what describes the user makes the same user again: as arguments, in
//! an ACL file, and in a line of a configuration. The words of the input are split at line breaks;
//! the whole of it is also tried as an ACL file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redoubt_node::engine::acl::CATALOG;
use redoubt_wire::acl::Users;
use redoubt_wire::quoting::split;

fuzz_target!(|input: &[u8]| {
    let _ = Users::new(&CATALOG, true).load(input, "fuzz.acl");

    let mut users = Users::new(&CATALOG, input.first().is_some_and(|byte| byte % 2 == 0));
    users.set::<&[u8]>(b"u", &[]).unwrap();
    for rule in input.split(|byte| *byte == b'\n') {
        // One by one, so that a rule that is refused does not undo the others.
        let _ = users.set(b"u", &[rule]);
    }
    let user = users.get(b"u").unwrap();

    let description = user.description();
    let words: Vec<&[u8]> = description.split(|byte| *byte == b' ').collect();
    let again = Users::new(&CATALOG, false).set(b"u", &words).unwrap().now;
    assert_eq!(&again, user);

    let mut loaded = Users::new(&CATALOG, false);
    loaded.load(&users.to_file(), "fuzz.acl").unwrap();
    assert!(loaded.iter().eq(users.iter()));

    let lines: Vec<Vec<Vec<u8>>> = users.lines(None).iter().map(|(_, line)| split(line).unwrap()).collect();
    let read = Users::from_lines(&CATALOG, false, None, lines.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(read.get(b"u"), Some(user));
});
