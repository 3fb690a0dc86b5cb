//! The agent's Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::REDOUBT;
use super::stage::{Stage, VIP};
use crate::agent::socket::{OnlyOne, Socket};
use crate::control::{LONGEST_REQUEST, Reply, Request};

/// Sends bytes and reads the lines that come back until the agent closes the connection or is silent.
async fn exchange(stage: &Stage, bytes: Vec<u8>, lines: usize) -> Vec<String> {
    let socket = stage.socket();
    let talk = move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(&bytes).unwrap();
        let reader = BufReader::new(stream);
        reader.lines().take(lines).map(|line| line.unwrap()).collect()
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

#[tokio::test]
async fn requests_are_lines_and_each_has_its_reply() {
    let stage = Stage::new(&REDOUBT).await;
    let pong = format!(
        r#"{{"reply":"pong","version":"{}","pid":{}}}"#,
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    let two = b"{\"request\":\"ping\"}\n{\"request\":\"ping\"}\n".to_vec();
    assert_eq!(exchange(&stage, two, 2).await, [pong.clone(), pong.clone()]);
    for bad in [&b"hello\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"request\":\"fly\"}\n"] {
        let replies = exchange(&stage, [bad, b"{\"request\":\"ping\"}\n"].concat(), 2).await;
        let refused: Reply = serde_json::from_str(&replies[0]).unwrap();
        assert!(matches!(refused, Reply::Refused { text } if text.contains("not a request")), "{replies:?}");
        assert_eq!(replies[1], pong, "the connection goes on");
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_not_collected_for_ever() {
    let stage = Stage::new(&REDOUBT).await;
    let socket = stage.socket();
    let replies = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(&vec![b'x'; LONGEST_REQUEST]).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    })
    .await
    .unwrap();
    assert!(replies.unwrap().contains("at most 65536 bytes"));
    assert!(matches!(stage.call(Request::Ping).await, Reply::Pong { .. }));
}

#[tokio::test]
async fn a_second_agent_is_refused() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let mode = std::fs::metadata(stage.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = Socket::open(&stage.config()).unwrap_err();
    assert!(error.contains("another agent listens there"), "{error}");
    let state_dir = stage.config().state_dir;
    let first = OnlyOne::claim(&state_dir).unwrap();
    let error = OnlyOne::claim(&state_dir).unwrap_err();
    assert!(
        error.contains(&format!(
            "another agent runs on {}: process {}",
            state_dir.display(),
            std::process::id()
        )),
        "{error}"
    );
    drop(first);
    OnlyOne::claim(&state_dir).unwrap();
    assert!(stage.is_on(VIP));
    stage.stop().await;
}

#[tokio::test]
async fn the_socket_of_an_agent_that_is_no_more_is_replaced_but_no_file() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.stop().await;
    // What is bound and closed leaves its file, as a killed process does.
    drop(UnixListener::bind(stage.socket()).unwrap());
    assert!(stage.socket().exists());
    stage.start_again();
    assert!(matches!(stage.call(Request::Ping).await, Reply::Pong { .. }));
    stage.stop().await;
    std::fs::write(stage.socket(), "mine").unwrap();
    let error = Socket::open(&stage.config()).unwrap_err();
    assert!(error.contains("there is a file in the place of the socket"), "{error}");
    assert_eq!(std::fs::read(stage.socket()).unwrap(), b"mine");
}
