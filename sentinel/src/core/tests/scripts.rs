//! The queue of scripts: what runs, what waits, what is tried again.

use redoubt_wire::resp::value::Value;

use super::lone::Lone;
use crate::core::ScriptEnd;

/// A Sentinel with a notification script, which has been told of +monitor.
fn notified() -> Lone {
    let never_down = "down-after-milliseconds m 1000000000";
    let mut lone =
        Lone::new(&["monitor m 10.0.0.1 0 1", never_down, "notification-script m /bin/notify"], &[]);
    assert_eq!(
        lone.run_script(ScriptEnd::Exited(0)),
        ["/bin/notify", "+monitor", "master m 10.0.0.1 0 quorum 1"]
    );
    lone
}

/// Has an event call the script.
fn call(lone: &mut Lone, quorum: usize) {
    lone.ask(&format!("SENTINEL SET m quorum {quorum}"));
}

fn pending(lone: &mut Lone) -> Vec<Vec<String>> {
    let jobs = lone.ask("SENTINEL PENDING-SCRIPTS");
    let text = |v: &Value| match v {
        Value::Array(words) => {
            let words = words.iter().map(|w| String::from_utf8_lossy(w.as_bytes().unwrap()).into_owned());
            words.collect::<Vec<_>>().join(" ")
        }
        other => String::from_utf8_lossy(other.as_bytes().unwrap()).into_owned(),
    };
    jobs.as_slice().unwrap().iter().map(|job| job.as_slice().unwrap().iter().map(text).collect()).collect()
}

#[test]
fn a_notification_gets_the_event_and_its_text() {
    let mut lone = notified();
    call(&mut lone, 7);
    assert_eq!(
        pending(&mut lone),
        [[
            "argv",
            "/bin/notify +set master m 10.0.0.1 0 quorum 7",
            "flags",
            "running",
            "pid",
            "0",
            "run-time",
            "0",
            "retry-num",
            "1"
        ]]
    );
    assert_eq!(
        lone.run_script(ScriptEnd::Exited(0)),
        ["/bin/notify", "+set", "master m 10.0.0.1 0 quorum 7"]
    );
    assert_eq!(pending(&mut lone).len(), 0);
}

#[test]
fn a_script_that_asks_for_it_is_tried_ten_times_with_doubled_delays() {
    let mut lone = notified();
    call(&mut lone, 7);
    let mut delay_ms = 30_000;
    for attempt in 1..10 {
        let end = if attempt % 2 == 0 { ScriptEnd::Signaled(9) } else { ScriptEnd::Exited(1) };
        lone.run_script(end);
        let job = pending(&mut lone).remove(0);
        let delay = delay_ms.to_string();
        assert_eq!(
            job[3..],
            ["scheduled", "pid", "0", "run-delay", &delay, "retry-num", &attempt.to_string()]
        );
        lone.pass(delay_ms - 1);
        assert!(lone.scripts.is_empty());
        lone.pass(1);
        delay_ms *= 2;
    }
    lone.run_script(ScriptEnd::Exited(1));
    assert_eq!(lone.events.last().unwrap(), "-script-error /bin/notify 0 1");
    assert_eq!(pending(&mut lone).len(), 0);
}

#[test]
fn another_exit_code_is_final() {
    let mut lone = notified();
    call(&mut lone, 7);
    lone.run_script(ScriptEnd::Exited(2));
    assert_eq!(lone.events.last().unwrap(), "-script-error /bin/notify 0 2");
    assert_eq!(pending(&mut lone).len(), 0);
}

#[test]
fn a_script_that_runs_too_long_is_killed_and_tried_again() {
    let mut lone = notified();
    call(&mut lone, 7);
    lone.pass(60_000);
    assert!(lone.kills.is_empty());
    lone.pass(1);
    assert_eq!(lone.kills, [lone.scripts[0].0]);
    assert_eq!(lone.events.last().unwrap(), "-script-timeout /bin/notify 0");
    lone.run_script(ScriptEnd::Signaled(9));
    assert_eq!(pending(&mut lone)[0][3], "scheduled");
}

#[test]
fn a_system_without_a_process_to_spare_is_asked_again() {
    let mut lone = notified();
    call(&mut lone, 7);
    lone.run_script(ScriptEnd::NotStarted);
    assert_eq!(lone.events.last().unwrap(), "-script-error /bin/notify 99 0");
    lone.pass(1_000);
    assert_eq!(lone.scripts.len(), 1);
}

#[test]
fn at_most_16_run_and_the_oldest_that_waits_gives_way() {
    let mut lone = notified();
    for n in 0..300 {
        call(&mut lone, 1 + n);
    }
    let jobs = pending(&mut lone);
    assert_eq!((jobs.len(), lone.scripts.len()), (256, 16));
    let quorums: Vec<&str> = jobs.iter().map(|job| job[1].rsplit(' ').next().unwrap()).collect();
    assert_eq!((quorums[15], quorums[16], quorums[255]), ("16", "61", "300"));
    lone.run_script(ScriptEnd::Exited(0));
    assert_eq!(lone.scripts.len(), 16, "the next one has its place");
}

const RECONFIG: [&str; 3] = [
    "monitor m 10.0.0.1 0 1",
    "down-after-milliseconds m 1000000000",
    "client-reconfig-script m /bin/reconfig",
];

/// Word of a failover that another Sentinel led.
fn hear_of_failover(lone: &mut Lone, epoch: u64, node: usize) {
    let id = "2".repeat(40);
    lone.ask(&format!("PUBLISH __sentinel__:hello 10.0.1.1,0,{id},{epoch},m,10.0.0.{node},0,{epoch}"));
}

fn argv_of(lone: &mut Lone) -> Vec<String> {
    pending(lone).into_iter().map(|mut job| job.remove(1)).collect()
}

#[test]
fn the_environment_names_epoch_event_and_reason() {
    let mut lone = Lone::new(&RECONFIG, &[]);
    hear_of_failover(&mut lone, 5, 2);
    let env = lone.envs.last().unwrap().clone();
    assert_eq!(
        (env["SENTINEL_CONFIG_EPOCH"].as_str(), env["SENTINEL_REASON"].as_str()),
        ("5", "observed-switch")
    );
    let id = &env["SENTINEL_EVENT_ID"];
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(
        lone.run_script(ScriptEnd::Exited(1)),
        ["/bin/reconfig", "m", "observer", "start", "10.0.0.1", "0", "10.0.0.2", "0"]
    );
    lone.pass(30_000);
    assert_eq!(lone.envs.last().unwrap(), &env, "another attempt is for the same event");
    lone.run_script(ScriptEnd::Exited(0));
    hear_of_failover(&mut lone, 6, 3);
    assert_ne!(&lone.envs.last().unwrap()["SENTINEL_EVENT_ID"], id);

    let mut lone = notified();
    call(&mut lone, 7);
    assert_eq!(lone.envs.last().unwrap()["SENTINEL_REASON"], "+set");
}

#[test]
fn a_newer_failover_calls_off_what_older_calls_have_not_done() {
    let mut lone = Lone::new(&[&RECONFIG[..], &["notification-script m /bin/notify"]].concat(), &[]);
    lone.run_script(ScriptEnd::Exited(0));
    hear_of_failover(&mut lone, 5, 2);
    // One of epoch 5 waits to be tried again, that of epoch 6 runs when 7 comes.
    while !lone.scripts.is_empty() {
        lone.run_script(ScriptEnd::Exited(1));
    }
    let waiting = argv_of(&mut lone);
    assert!(waiting.iter().any(|argv| argv.ends_with("10.0.0.2 0") && argv.starts_with("/bin/reconfig")));
    hear_of_failover(&mut lone, 6, 3);
    hear_of_failover(&mut lone, 7, 1);
    let reconfigurations: Vec<String> =
        argv_of(&mut lone).into_iter().filter(|argv| argv.starts_with("/bin/reconfig")).collect();
    assert_eq!(
        reconfigurations,
        [
            "/bin/reconfig m observer start 10.0.0.2 0 10.0.0.3 0",
            "/bin/reconfig m observer start 10.0.0.3 0 10.0.0.1 0"
        ]
    );
    assert!(argv_of(&mut lone).len() > 2, "notifications of the older failover are still made");
    while !lone.scripts.is_empty() {
        lone.run_script(ScriptEnd::Exited(1));
    }
    let reconfigurations: Vec<String> =
        argv_of(&mut lone).into_iter().filter(|argv| argv.starts_with("/bin/reconfig")).collect();
    assert_eq!(reconfigurations, ["/bin/reconfig m observer start 10.0.0.3 0 10.0.0.1 0"]);
    assert!(!lone.events.iter().any(|event| event.starts_with("-script-error")), "{:?}", lone.events);
}

#[test]
fn who_moves_clients_goes_first_and_gives_way_last() {
    let mut lone = Lone::new(&[&RECONFIG[..], &["notification-script m /bin/notify"]].concat(), &[]);
    for n in 0..20 {
        call(&mut lone, 1 + n);
    }
    assert_eq!(lone.scripts.len(), 16);
    hear_of_failover(&mut lone, 5, 2);
    for n in 0..300 {
        call(&mut lone, 100 + n);
    }
    assert_eq!(pending(&mut lone).len(), 256);
    lone.scripts.rotate_right(1);
    lone.run_script(ScriptEnd::Exited(0));
    assert_eq!(lone.scripts.last().unwrap().1[0], "/bin/reconfig");
}

#[test]
fn what_is_to_be_run_is_written_down_and_what_has_run_is_taken_out() {
    let mut lone = Lone::new(&RECONFIG, &[]);
    hear_of_failover(&mut lone, 5, 2);
    let id = lone.envs.last().unwrap()["SENTINEL_EVENT_ID"].clone();
    let tail = "m observer start 10.0.0.1 0 10.0.0.2 0";
    let line = |attempts| format!("client-reconfig m 5 {id} observed-switch {attempts} {tail}");
    assert_eq!(lone.queues, [[line(1)]], "at once");
    lone.run_script(ScriptEnd::Exited(0));
    lone.pass(300);
    assert_eq!(lone.queues.last().unwrap().len(), 0);

    let mut lone = notified();
    call(&mut lone, 7);
    lone.pass(100);
    lone.run_script(ScriptEnd::Exited(0));
    lone.pass(1_000);
    assert!(lone.queues.is_empty(), "most notifications have run before they would be written down");
    call(&mut lone, 8);
    lone.pass(300);
    assert!(lone.queues[0][0].starts_with("notification m 0 "), "{:?}", lone.queues);
}

#[test]
fn a_restart_goes_on_with_what_was_left() {
    let call = |epoch: u64, node: usize, attempts: u32| {
        let tail = format!("m leader start 10.0.0.1 0 10.0.0.{node} 0");
        format!("client-reconfig m {epoch} {} failover {attempts} {tail}", "ab".repeat(16))
    };
    let lines = [&RECONFIG[..], &["config-epoch m 6", "notification-script m /bin/notify"]].concat();
    let left_over = [
        call(6, 2, 3),
        "notification m 4 cd +odown 0 +odown \"master m\"".to_string(),
        call(5, 3, 0),
        "notification gone 4 cd +odown 0 +odown x".to_string(),
    ];
    let mut lone = Lone::again(&lines, &[], &left_over);
    assert_eq!(
        argv_of(&mut lone),
        [
            "/bin/notify +monitor master m 10.0.0.1 0 quorum 1",
            "/bin/reconfig m leader start 10.0.0.1 0 10.0.0.2 0",
            "/bin/notify +odown master m"
        ]
    );
    assert_eq!(lone.scripts.len(), 2, "the other waits for word of a newer failover");
    lone.pass(3_998);
    assert_eq!(lone.scripts.len(), 2);
    lone.pass(1);
    assert_eq!(lone.scripts.len(), 3);
    assert_eq!(lone.envs[2]["SENTINEL_EVENT_ID"], "ab".repeat(16));
    lone.run_script(ScriptEnd::Exited(1));
    let delayed = pending(&mut lone).into_iter().find(|job| job[3] == "scheduled").unwrap();
    assert_eq!(delayed[7..], ["240000", "retry-num", "4"]);

    let mut lone = Lone::again(&lines, &[], &left_over[..1]);
    lone.pass(2_000);
    hear_of_failover(&mut lone, 7, 3);
    let calls = argv_of(&mut lone).into_iter().filter(|argv| argv.starts_with("/bin/reconfig"));
    assert_eq!(calls.collect::<Vec<_>>(), ["/bin/reconfig m observer start 10.0.0.1 0 10.0.0.3 0"]);
}

#[test]
fn a_queue_that_cannot_be_written_is_told_once_and_tried_again() {
    let mut lone = Lone::new(&RECONFIG, &[]);
    lone.queue_fails = true;
    hear_of_failover(&mut lone, 5, 2);
    lone.pass(5_000);
    assert_eq!(lone.queues.len(), 6);
    let told = lone.warnings.iter().filter(|text| text.contains("cannot be saved: no space")).count();
    assert_eq!(told, 1, "{:?}", lone.warnings);
    lone.queue_fails = false;
    lone.pass(5_000);
    assert_eq!(lone.queues.len(), 7);
}
