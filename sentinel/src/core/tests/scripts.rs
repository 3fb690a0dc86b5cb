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
