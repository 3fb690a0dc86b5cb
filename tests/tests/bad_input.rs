//! What an operator can get wrong: the server ends with exit status 1, says what, where and
//! what to do, and damages nothing on disk.
//!
//! Our programs are held to more than Redis's, which do not name the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_lab::binaries::{Binaries, is_ours};
use redoubt_lab::ports::PortLease;
use redoubt_lab::process::{Ended, Process};
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::ServerSpec;

const END_LIMIT: Duration = Duration::from_secs(20);

fn scratch() -> Scratch {
    Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn node() -> PathBuf {
    Binaries::locate(None, None).unwrap().node
}

fn sentinel() -> PathBuf {
    Binaries::locate(None, None).unwrap().sentinel
}

/// Starts the program with this file; it has to refuse.
fn refuses(program: &Path, scratch: &Scratch, text: &str) -> String {
    let file = scratch.path().join("bad.conf");
    std::fs::write(&file, text).unwrap();
    let args = [file.display().to_string()];
    let Ended { code, output } = Process::run_to_end(program, &args, scratch.path(), END_LIMIT).unwrap();
    assert_eq!(code, Some(1), "{output}");
    output
}

#[track_caller]
fn says(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "{part:?} is not said in:\n{output}");
    }
}

/// A refused file: the line, what stands there, and from ours the file's name.
fn refuses_line(program: &Path, line: usize, text: &str) -> String {
    let scratch = scratch();
    let port = PortLease::take().unwrap();
    let text = format!("port {}\ndir {}\n{text}", port.port(), scratch.path().display());
    let output = refuses(program, &scratch, &text);
    says(&output, &[&format!("line {line}"), text.lines().nth(line - 1).unwrap()]);
    if is_ours(program) {
        says(&output, &["bad.conf"]);
    }
    output
}

#[test]
fn an_unknown_directive() {
    let output = refuses_line(&node(), 3, "no-such-directive yes\n");
    says(&output, &["Bad directive or wrong number of arguments"]);
}

#[test]
fn a_value_out_of_range() {
    let output = refuses_line(&node(), 4, "tcp-keepalive 10\nmaxclients 0\n");
    says(&output, &["argument must be between 1 and"]);
}

#[test]
fn a_value_that_is_no_number() {
    refuses_line(&node(), 3, "timeout soon\n");
}

#[test]
fn a_value_that_is_none_of_the_choices() {
    refuses_line(&node(), 3, "maxmemory-policy whatever\n");
}

#[test]
fn unbalanced_quotes() {
    let output = refuses_line(&node(), 3, "requirepass \"half\n");
    says(&output, &["Unbalanced quotes"]);
}

#[test]
fn a_user_with_an_unknown_command() {
    let output = refuses_line(&node(), 4, "user bob on\nuser alice on +no-such-command\n");
    says(
        &output,
        &["rule '+no-such-command' for the user named 'alice'", "Unknown command or category name"],
    );
}

#[test]
fn a_user_that_is_defined_twice() {
    let output = refuses_line(&node(), 4, "user bob on\nuser bob off\n");
    says(&output, &["Error in user declaration 'bob': Duplicate user found."]);
}

#[test]
fn users_in_two_places_or_in_a_file_with_mistakes() {
    let scratch = scratch();
    std::fs::write(scratch.path().join("users.acl"), "user bob on\nbob off\n").unwrap();
    let start = format!("dir {}\naclfile users.acl\n", scratch.path().display());
    let output = refuses(&node(), &scratch, &start);
    says(&output, &["Aborting", "users.acl:2 should start with user keyword"]);
    let output = refuses(&node(), &scratch, &format!("{start}user eve on\n"));
    says(&output, &["define either an ACL file or declare users directly"]);
}

#[test]
fn a_sentinel_directive_with_too_few_words() {
    refuses_line(&sentinel(), 3, "sentinel monitor mymaster 127.0.0.1 6379\n");
}

#[test]
fn a_sentinel_directive_for_a_master_that_is_not_monitored() {
    let output = refuses_line(&sentinel(), 3, "sentinel down-after-milliseconds nobody 1000\n");
    says(&output, &["No such master with specified name"]);
}

#[test]
fn a_file_that_is_not_there() {
    let scratch = scratch();
    let file = scratch.path().join("absent.conf").display().to_string();
    for program in [node(), sentinel()] {
        let ended =
            Process::run_to_end(&program, std::slice::from_ref(&file), scratch.path(), END_LIMIT).unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        says(&ended.output, &[&file]);
    }
}

#[test]
fn a_port_in_use() {
    let lease = PortLease::take().unwrap();
    let _taken = std::net::TcpListener::bind(lease.addr()).unwrap();
    let scratch = scratch();
    let text = format!("port {}\nbind 127.0.0.1\ndir {}\n", lease.port(), scratch.path().display());
    let output = refuses(&node(), &scratch, &text);
    says(&output, &["Address already in use", &lease.port().to_string()]);
}

#[test]
fn a_working_directory_that_is_a_file() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let port = PortLease::take().unwrap();
    let output = refuses(&node(), &scratch, &format!("port {}\ndir {}\n", port.port(), file.display()));
    says(&output, &["line 2", &file.display().to_string(), "Not a directory"]);
}

/// Told on the terminal, also by what was to go to the background.
#[test]
fn a_log_file_that_cannot_be_opened() {
    for (program, daemonize) in [(node(), "no"), (node(), "yes"), (sentinel(), "yes")] {
        let text = format!("logfile /no/such/folder/log\ndaemonize {daemonize}\n");
        let output = refuses_line(&program, 3, &text);
        says(&output, &["Can't open the log file: No such file or directory"]);
    }
}

/// Nobody can make files in /proc/self, not even root, as whom tests run in containers.
#[tokio::test]
async fn a_snapshot_where_nothing_can_be_written() {
    let scratch = scratch();
    let options = ["--save", "", "--dir", "/proc/self", "--daemonize", "no"];
    let server = ServerSpec::with_options("node", &node(), &options).start(&scratch).await.unwrap();
    let () = server.ask(&["SET", "k", "v"]).await.unwrap();
    server.ask::<()>(&["SAVE"]).await.unwrap_err();
    // It goes on serving, and its log says what failed.
    assert_eq!(server.ask::<String>(&["GET", "k"]).await.unwrap(), "v");
    says(&server.log(), &["Failed opening the temp RDB file"]);
}

/// A dump as the server itself writes it.
async fn dump(scratch: &Scratch) -> Vec<u8> {
    let server = ServerSpec::with_file("writer", &node(), &["save \"\""]).start(scratch).await.unwrap();
    redoubt_lab::dataset::fill(server.addr()).await.unwrap();
    let () = server.ask(&["SAVE"]).await.unwrap();
    std::fs::read(server.dir().join("dump.rdb")).unwrap()
}

/// A server with this dump has to refuse and to leave the file as it is.
fn refuses_dump(scratch: &Scratch, dump: &[u8]) -> String {
    let file = scratch.path().join("dump.rdb");
    std::fs::write(&file, dump).unwrap();
    let port = PortLease::take().unwrap();
    let text = format!("port {}\nbind 127.0.0.1\ndir {}\n", port.port(), scratch.path().display());
    let output = refuses(&node(), scratch, &text);
    assert!(std::fs::read(&file).unwrap() == dump, "the damaged dump was changed; it may be all there is");
    if is_ours(&node()) {
        says(&output, &["dump.rdb"]);
    }
    output
}

#[tokio::test]
async fn a_truncated_snapshot() {
    let scratch = scratch();
    let whole = dump(&scratch).await;
    for length in [whole.len() / 3, whole.len() - 1] {
        refuses_dump(&scratch, &whole[..length]);
    }
}

#[tokio::test]
async fn a_snapshot_with_a_wrong_checksum() {
    let scratch = scratch();
    let mut dump = dump(&scratch).await;
    *dump.last_mut().unwrap() ^= 1;
    let output = refuses_dump(&scratch, &dump);
    says(&output, &["RDB checksum"]);
}

#[test]
fn a_file_that_is_no_snapshot() {
    let output = refuses_dump(&scratch(), b"this is not the file you are looking for");
    says(&output, &["Wrong signature"]);
}

#[test]
fn a_snapshot_of_a_version_from_the_future() {
    let output = refuses_dump(&scratch(), b"REDIS9999\xff\0\0\0\0\0\0\0\0");
    says(&output, &["Can't handle RDB format version 9999"]);
}
