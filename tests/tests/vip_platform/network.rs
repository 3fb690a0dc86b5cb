//! The network of these tests itself: it carries, is cut, and heals.

use super::*;

#[test]
fn with_netns_the_network_itself_cuts_and_heals() {
    isolated("network::with_netns_the_network_itself_cuts_and_heals", || {
        let net = Net::new(4).unwrap();
        echo(net.host(3), 7);
        // A new cable takes up to a second until it carries something.
        let reach_becomes = |wanted: [bool; 3]| {
            let deadline = Instant::now() + Duration::from_secs(5);
            let reached = |from: usize| {
                let to = SocketAddr::new(net.host(3).address.into(), 7);
                !answered(net.host(from), to, ms(20), ms(200)).1.is_empty()
            };
            while [0, 1, 2].map(reached) != wanted {
                assert!(Instant::now() < deadline, "who reaches the last host becomes {wanted:?}");
            }
        };
        reach_becomes([true; 3]);
        net.partition(&[&[0], &[1, 3]]).unwrap();
        reach_becomes([false, true, false]);
        let carrier = net.host(0).ip(&["link", "show", INTERFACE]).unwrap();
        assert!(carrier.contains("LOWER_UP"), "a cut takes no carrier: {carrier}");
        net.heal().unwrap();
        reach_becomes([true; 3]);
        net.silence(0, 3).unwrap();
        reach_becomes([false, true, true]);
        net.unsilence(0, 3).unwrap();
        net.unplug(1).unwrap();
        reach_becomes([true, false, true]);
        net.plug(1).unwrap();
        reach_becomes([true; 3]);
    });
}
