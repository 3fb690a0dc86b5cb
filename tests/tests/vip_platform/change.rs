//! What changes under an address that is held: its interface is down for a while, and news is lost.

use redoubt_vip_hook::platform::addresses::Addresses;
use redoubt_vip_hook::platform::netlink::{Connection, Family};

use super::*;

/// Renews each 20 ms what can be renewed, for a time.
async fn renew(platform: &mut Platform, addresses: &[VirtualAddress], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        for address in addresses {
            if let Err(error) = platform.hold(address, clock::now() + LEASE) {
                println!("{error}");
            }
        }
        tokio::time::sleep(ms(20)).await;
    }
}

#[test]
fn with_netns_a_held_address_answers_again_when_its_interface_was_down() {
    isolated("change::with_netns_a_held_address_answers_again_when_its_interface_was_down", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        echo(a, 7);
        let both = [vip(), vip6()];
        on(a, both.to_vec(), async |platform| {
            renew(platform, &both, ms(100)).await;
            // The kernel takes IPv6 addresses away, and IPv4's routes.
            a.ip(&["link", "set", INTERFACE, "down"]).unwrap();
            renew(platform, &both, ms(200)).await;
            a.ip(&["link", "set", INTERFACE, "up"]).unwrap();
            a.ip(&["address", "replace", "fd00::1/64", "dev", INTERFACE, "nodad"]).unwrap();
            let probers = both.each_ref().map(|address| b.prober(address.address, ms(5)));
            let deadline = Instant::now() + Duration::from_secs(5);
            while probers.iter().any(|prober| prober.last().is_none()) {
                assert!(Instant::now() < deadline, "both answer who asks where they are");
                renew(platform, &both, ms(20)).await;
            }
            for address in &both {
                platform.hold(address, clock::now() + Duration::from_secs(5)).unwrap();
                let to = SocketAddr::new(address.address, 7);
                let answers = answered(b, to, ms(10), ms(300)).1.len();
                assert!(answers > 0, "{} answers packets", address.address);
            }
        });
    });
}

#[test]
fn with_netns_news_that_was_lost_is_not_replaced_by_older_news() {
    isolated("change::with_netns_news_that_was_lost_is_not_replaced_by_older_news", || {
        let net = Net::new(1).unwrap();
        let a = net.host(0);
        on(a, vec![vip()], async |platform| {
            platform.hold(&vip(), clock::now() + Duration::from_secs(60)).unwrap();
            state_becomes(platform, true, true).await;
            // That it goes is in the socket's buffer; that it comes again has no room there.
            let mut batch = format!("address del 10.0.0.100/32 dev {INTERFACE}\n");
            for number in 0..4000 {
                let address = format!("10.1.{}.{}/32", number / 250, number % 250 + 1);
                batch += &format!(
                    "address add {address} dev {INTERFACE}\naddress del {address} dev {INTERFACE}\n"
                );
            }
            run_batch(a, &batch);
            let interface = nix::net::if_::if_nametoindex(INTERFACE).unwrap();
            let connection = Connection::open(Family::Route, 0).unwrap();
            Addresses::open(connection).add(&vip(), interface, 60).unwrap();
            assert!(platform.state(&vip()).unwrap().present, "it is there");
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
        });
    });
}
