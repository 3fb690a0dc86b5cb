//! The link to the master, word by word.

use super::info::{LinkState, TransferInfo};
use super::lineage::ReplId;
use super::replica::*;
use crate::config::Secret;

const HERE: ReplId = ReplId::NONE;

struct Bench {
    link: ReplicaLink,
    log: Vec<String>,
}

impl Bench {
    fn new(resumable: bool, change: impl FnOnce(&mut LinkConfig)) -> Bench {
        let mut config = LinkConfig {
            host: "10.0.0.1".into(),
            port: 6379,
            user: None,
            password: None,
            listening_port: 6380,
            announce_ip: None,
            timeout_ms: 60_000,
            diskless_load: false,
        };
        change(&mut config);
        Bench { link: ReplicaLink::new(0, config, resumable), log: Vec::new() }
    }

    /// The outputs, logs set aside, as text in which a line break is a space.
    fn outputs(&mut self) -> Vec<String> {
        let applied = Applied { replid: HERE, offset: 99, fsynced: None };
        let mut outputs = Vec::new();
        while let Some(output) = self.link.poll_output(&applied) {
            match output {
                LinkOutput::Log(line) => self.log.push(line.text),
                LinkOutput::Send(bytes) => {
                    let text = String::from_utf8(bytes).expect("text");
                    let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
                    outputs.push(words.collect::<Vec<_>>().join(" ").trim_end_matches(' ').to_owned());
                }
                other => outputs.push(format!("{other:?}")),
            }
        }
        outputs
    }

    fn receive(&mut self, now_ms: u64, text: &str) -> Vec<String> {
        let mut input = text.as_bytes();
        let mut events = Vec::new();
        while let Some(event) = self.link.handle_bytes(now_ms, &mut input) {
            events.push(match event {
                LinkEvent::Payload(part) => format!("Payload {}", String::from_utf8_lossy(&part)),
                LinkEvent::Stream(part) => format!("Stream {}", String::from_utf8_lossy(part)),
                other => format!("{other:?}"),
            });
        }
        if !input.is_empty() {
            events.push(format!("left {}", String::from_utf8_lossy(input)));
        }
        events
    }

    /// As far as PSYNC.
    fn shake_hands(&mut self) -> Vec<String> {
        self.outputs();
        self.link.connected(1);
        self.outputs();
        self.receive(2, "+PONG\r\n");
        self.outputs();
        self.receive(3, "+OK\r\n+OK\r\n");
        self.outputs()
    }
}

#[test]
fn the_handshake_says_who_we_are() {
    let mut bench = Bench::new(true, |config| {
        config.user = Some("repl".into());
        config.password = Some(Secret(b"secret".to_vec()));
        config.announce_ip = Some("1.2.3.4".into());
    });
    assert_eq!(bench.outputs(), ["Connect"]);
    assert_eq!(bench.link.state(), LinkState::Connecting);
    bench.link.connected(1);
    assert_eq!(bench.outputs(), ["PING"]);
    assert_eq!(bench.link.state(), LinkState::Handshake);
    assert!(bench.receive(2, "-NOAUTH Authentication required.\r\n").is_empty());
    assert_eq!(
        bench.outputs(),
        [
            "AUTH repl secret",
            "REPLCONF listening-port 6380",
            "REPLCONF ip-address 1.2.3.4",
            "REPLCONF capa eof capa psync2",
        ]
    );
    bench.receive(3, "+OK\r\n+OK\r\n-ERR what?\r\n");
    assert!(bench.outputs().is_empty());
    bench.receive(3, "+OK\r\n");
    assert_eq!(bench.outputs(), [format!("PSYNC {HERE} 100")]);
    assert!(
        bench
            .log
            .contains(&"(Non critical) Master does not understand REPLCONF ip-address: -ERR what?".into())
    );
}

#[test]
fn a_refused_password_ends_the_attempt() {
    let mut bench = Bench::new(true, |config| config.password = Some(Secret(b"wrong".to_vec())));
    bench.link.connected(1);
    bench.receive(2, "+PONG\r\n");
    bench.receive(3, "-WRONGPASS no\r\n+OK\r\n");
    assert_eq!(bench.outputs().last().map(String::as_str), Some("Close"));
    assert!(bench.log.contains(&"Unable to AUTH to MASTER: -WRONGPASS no".into()));
    assert_eq!((bench.link.state(), bench.link.poll_timeout()), (LinkState::Connect, Some(1003)));
}

#[test]
fn a_full_synchronization_ends_with_an_acknowledgement() {
    let mut bench = Bench::new(false, |_| {});
    assert_eq!(bench.shake_hands(), ["PSYNC ? -1"]);
    let (id, mark) = ("a".repeat(40), "b".repeat(40));
    let events = bench.receive(4, &format!("\n+FULLRESYNC {id} 17\r\n\n\n$EOF:{mark}\r\nDATA{mark}rest"));
    let start =
        format!("StartLoad {{ lineage: Some(({id}, 17)), payload: EofMarked({:?}) }}", mark.as_bytes());
    assert_eq!(events, [start.as_str(), "Payload DATA", "PayloadEnd", "left rest"]);
    assert_eq!(bench.link.state(), LinkState::Sync);
    assert!(!bench.link.wants_bytes());
    bench.link.handle_timeout(1_004);
    assert_eq!(bench.outputs(), ["\n"], "the master must see that we live");
    assert_eq!(bench.link.load_succeeded(2_000), ReplId::parse(id.as_bytes()).map(|id| (id, 17)));
    assert_eq!(bench.outputs(), ["REPLCONF ACK 99"]);
    assert_eq!(bench.receive(2_001, "rest"), ["Stream rest"]);
    assert_eq!(bench.link.poll_timeout(), Some(3_000));
    bench.link.handle_timeout(3_000);
    assert_eq!(bench.outputs(), ["REPLCONF ACK 99"]);
}

#[test]
fn a_payload_of_known_length_ends_by_itself() {
    let mut bench = Bench::new(false, |_| {});
    bench.shake_hands();
    let id = "a".repeat(40);
    bench.receive(4, &format!("+FULLRESYNC {id} 17\r\n"));
    assert_eq!(bench.receive(4, "$6\r\nabc")[1..], ["Payload abc"]);
    let transfer = TransferInfo { total_bytes: 6, read_bytes: 3, last_io_seconds_ago: 2 };
    assert_eq!(bench.link.transfer(2_500), Some(transfer));
    assert_eq!(bench.receive(5, "defSTREAM"), ["Payload def", "PayloadEnd", "left STREAM"]);
    bench.link.load_succeeded(6);
    assert!(bench.outputs().is_empty(), "nothing is held back, so that there is no hurry");
}

#[test]
fn continuing_and_losing_the_link_and_continuing() {
    let mut bench = Bench::new(true, |_| {});
    bench.shake_hands();
    let id = "a".repeat(40);
    let events = bench.receive(4, &format!("+CONTINUE {id}\r\nabc"));
    assert_eq!(events, [format!("Continue(Some({id}))"), "Stream abc".into()]);
    bench.link.closed(5_000, "reset");
    assert_eq!(bench.outputs(), ["Close", "Connect"], "at once");
    assert_eq!(bench.link.down_since_seconds(7_000), Some(2));
    bench.link.connect_failed(5_001, "refused");
    assert_eq!(bench.outputs(), ["Close"]);
    assert_eq!(bench.link.poll_timeout(), Some(6_001), "and then once a second");
    for line in [
        "Connection with master lost.",
        "Reconnecting to MASTER 10.0.0.1:6379",
        "Error condition on socket for SYNC: refused",
    ] {
        assert!(bench.log.contains(&line.into()), "{line}: {:?}", bench.log);
    }
}

#[test]
fn a_master_that_cannot_is_asked_again_later() {
    for refusal in ["-NOMASTERLINK Can't SYNC\r\n", "-LOADING later\r\n"] {
        let mut bench = Bench::new(true, |_| {});
        bench.shake_hands();
        bench.receive(4, refusal);
        assert_eq!(bench.outputs(), ["Close"]);
        assert_eq!(bench.link.poll_timeout(), Some(1_004));
        bench.link.handle_timeout(1_004);
        assert_eq!(bench.outputs(), ["Connect"]);
    }
}

#[test]
fn a_master_without_psync_is_asked_with_sync() {
    let mut bench = Bench::new(true, |_| {});
    bench.shake_hands();
    bench.receive(4, "-ERR unknown command 'PSYNC'\r\n");
    assert_eq!(bench.outputs(), ["SYNC"]);
    assert_eq!(bench.receive(5, "$2\r\nab")[1..], ["Payload ab", "PayloadEnd"]);
    assert_eq!(bench.link.load_succeeded(6), None);
    bench.link.request_ack();
    assert!(bench.outputs().is_empty(), "it would not understand");
    assert!(!bench.link.is_resumable());
}

#[test]
fn a_master_that_continues_what_we_do_not_have_is_asked_with_sync() {
    let mut bench = Bench::new(false, |_| {});
    bench.shake_hands();
    assert!(bench.receive(4, "+CONTINUE\r\n").is_empty());
    assert_eq!(bench.outputs(), ["SYNC"]);
}

#[test]
fn silence_and_cut_lines_time_out() {
    let mut bench = Bench::new(true, |_| {});
    assert_eq!(bench.link.poll_timeout(), Some(60_000));
    bench.link.connected(1);
    bench.receive(10, "+PO");
    assert_eq!(bench.link.poll_timeout(), Some(5_010));
    bench.link.handle_timeout(5_010);
    bench.outputs();
    assert!(bench.log.contains(&"Master did not respond to command during SYNC handshake".into()));
    bench.link.handle_timeout(6_010);
    bench.link.handle_timeout(66_010);
    assert_eq!(bench.outputs(), ["Connect", "Close", "Connect"]);
    assert!(bench.log.contains(&"Timeout connecting to the MASTER...".into()));
}

#[test]
fn an_endless_line_is_cut_off() {
    let mut bench = Bench::new(true, |_| {});
    bench.link.connected(1);
    assert!(bench.receive(2, &"x".repeat(100_000)).is_empty());
    assert_eq!(bench.outputs().last().map(String::as_str), Some("Close"));
    assert!(bench.link.line.capacity() < 1024);
}

#[test]
fn a_bad_announcement_is_not_retried_in_a_hot_loop() {
    for bad in ["$-5\r\n", "-ERR no\r\n", "HTTP/1.1 400\r\n", "$EOF:short\r\n"] {
        let mut bench = Bench::new(true, |_| {});
        bench.shake_hands();
        let events = bench.receive(4, &format!("+FULLRESYNC {} 17\r\n{bad}", "a".repeat(40)));
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(bench.outputs(), ["Close"]);
        assert_eq!(bench.link.poll_timeout(), Some(1_000), "a second after the last attempt");
    }
}

#[test]
fn a_target_that_refuses_a_failover_is_not_synchronized_from() {
    let mut bench = Bench::new(true, |_| {});
    bench.link.request_takeover();
    assert_eq!(bench.shake_hands(), [format!("PSYNC {HERE} 100 FAILOVER")]);
    bench.receive(4, "-ERR PSYNC FAILOVER replid must match my replid.\r\n");
    assert_eq!(bench.link.takeover(), Takeover::Refused);
    assert_eq!(bench.outputs(), ["Close"]);
}

#[test]
fn a_target_that_is_a_master_without_having_been_asked_refuses() {
    let mut bench = Bench::new(true, |_| {});
    bench.link.request_takeover();
    bench.shake_hands();
    bench.receive(4, "-ERR PSYNC FAILOVER can't be sent to a master.\r\n");
    assert_eq!(bench.link.takeover(), Takeover::Refused);
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again() {
    let mut bench = Bench::new(true, |_| {});
    bench.link.request_takeover();
    bench.shake_hands();
    bench.link.closed(5, "Connection closed by the master");
    assert_eq!(bench.link.takeover(), Takeover::Wanted { asked: 1 }, "it may have taken over or not");
    assert_eq!(bench.outputs(), ["Close"]);
    bench.link.handle_timeout(1_005);
    assert_eq!(bench.outputs(), ["Connect"]);
    assert_eq!(bench.shake_hands(), [format!("PSYNC {HERE} 100 FAILOVER")]);
    bench.receive(1_010, "-ERR PSYNC FAILOVER can't be sent to a master.\r\n");
    assert_eq!(bench.link.takeover(), Takeover::Granted);
    assert_eq!(bench.outputs(), [format!("PSYNC {HERE} 100")]);
    bench.receive(1_011, "+CONTINUE\r\n");
    assert_eq!(bench.link.state(), LinkState::Connected);
}

#[test]
fn after_an_answer_that_was_lost_only_one_that_tells_counts() {
    for (answer, expected, next) in [
        ("-LOADING Redis is loading\r\n", Takeover::Wanted { asked: 2 }, "Close".to_owned()),
        ("-NOPERM this user has no permissions\r\n", Takeover::Wanted { asked: 2 }, "Close".to_owned()),
        (
            "-ERR PSYNC FAILOVER replid must match my replid.\r\n",
            Takeover::Granted,
            format!("PSYNC {HERE} 100"),
        ),
    ] {
        let mut bench = Bench::new(true, |_| {});
        bench.link.request_takeover();
        bench.shake_hands();
        bench.link.closed(5, "Connection closed by the master");
        bench.outputs();
        bench.link.handle_timeout(1_005);
        bench.outputs();
        bench.shake_hands();
        bench.receive(1_010, answer);
        assert_eq!(bench.link.takeover(), expected, "{answer}");
        assert_eq!(bench.outputs(), [next]);
    }
}
