//! The line that tells an operator what the Sentinel is about.

use super::solo::{Solo, node};

#[test]
fn the_status_follows_a_failover() {
    let mut solo = Solo::new(3, 2, &[]);
    assert_eq!(solo.core.status(), "Ready to accept connections: watches 1 master");
    solo.kill(&node(0));
    solo.run_to("+sdown");
    assert_eq!(solo.core.status(), "Ready to accept connections: watches 1 master; m: sdown");
    solo.elect(2, 1);
    solo.run_to("+elected-leader");
    let status = solo.core.status();
    assert!(status.contains("; m: failover under way (") && status.ends_with(", epoch 1)"), "{status}");
}
