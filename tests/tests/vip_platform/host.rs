//! Addresses and interfaces: what is marked as ours, what others change, claim and learn, and the facts of an interface.

use super::*;

#[test]
fn with_netns_an_address_is_marked_ends_by_itself_and_is_never_a_source() {
    isolated("host::with_netns_an_address_is_marked_ends_by_itself_and_is_never_a_source", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        let hold = || {
            on(a, vec![vip(), vip6()], async |platform| {
                for address in [vip(), vip6()] {
                    platform.hold(&address, clock::now() + LEASE).unwrap();
                }
            });
        };
        hold();
        let shown = a.ip(&["-details", "address", "show", "dev", INTERFACE]).unwrap();
        println!("{shown}");
        for (address, scope) in [("10.0.0.100/32", "scope host"), ("fd00::100/128", "scope global")] {
            let lines: Vec<&str> = shown.lines().skip_while(|line| !line.contains(address)).take(2).collect();
            for word in [scope, "deprecated", "noprefixroute", "valid_lft 2sec", "preferred_lft 0sec"] {
                assert!(lines.join(" ").contains(word), "{address}: {word} in {lines:?}");
            }
        }
        on(a, vec![vip(), vip6()], async |platform| {
            let marked = platform.leftovers().unwrap();
            let marked: Vec<_> = marked.iter().map(|found| (found.address, found.protocol)).collect();
            assert_eq!(marked, [(vip().address, 86), (vip6().address, 86)]);
        });
        // The host's own address comes after the virtual one now.
        a.ip(&["address", "del", "10.0.0.1/24", "dev", INTERFACE]).unwrap();
        a.ip(&["address", "del", "fd00::1/64", "dev", INTERFACE]).unwrap();
        hold();
        a.ip(&["address", "add", "10.0.0.1/24", "dev", INTERFACE]).unwrap();
        a.ip(&["address", "add", "fd00::1/64", "dev", INTERFACE, "nodad"]).unwrap();
        a.ip(&["route", "add", "default", "via", &b.address.to_string()]).unwrap();
        a.ip(&["-6", "route", "add", "default", "via", &b.address6.to_string()]).unwrap();
        hold();
        let chosen = |to: &str| {
            a.run(|| {
                let to: SocketAddr = to.parse().unwrap();
                let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
                let socket = UdpSocket::bind(any).unwrap();
                socket.connect(to).unwrap();
                socket.local_addr().unwrap().ip().to_string()
            })
        };
        assert_eq!(chosen("10.0.0.2:9"), "10.0.0.1");
        assert_eq!(chosen("192.0.2.1:9"), "10.0.0.1");
        assert_eq!(chosen("[fd00::2]:9"), "fd00::1");
        assert_eq!(chosen("[2001:db8::1]:9"), "fd00::1");

        // The backstop.
        let start = Instant::now();
        while a.ip(&["address", "show", "dev", INTERFACE]).unwrap().contains("100/") {
            assert!(start.elapsed() < Duration::from_secs(5), "the lifetime is over");
            std::thread::sleep(ms(20));
        }
        println!("without renewal the addresses were gone after {:?}", start.elapsed());
        assert!(start.elapsed() > ms(1000) && start.elapsed() < ms(3000), "{:?}", start.elapsed());
    });
}

#[test]
fn with_netns_an_address_with_a_networks_prefix_length_stands_beside_the_hosts_own() {
    isolated("host::with_netns_an_address_with_a_networks_prefix_length_stands_beside_the_hosts_own", || {
        let net = Net::new(1).unwrap();
        let a = net.host(0);
        let (v4, v6) =
            (VirtualAddress { prefix_len: 24, ..vip() }, VirtualAddress { prefix_len: 64, ..vip6() });
        let hold = || {
            on(a, vec![v4.clone(), v6.clone()], async |platform| {
                for address in [&v4, &v6] {
                    platform.hold(address, clock::now() + LEASE).unwrap();
                }
                // Of an IPv6 address the kernel tells a little later.
                assert!(platform.state(&v4).unwrap().present);
            });
        };
        hold();
        assert!(a.ip(&["address", "show", "dev", INTERFACE]).unwrap().contains("fd00::100/64"));
        // Nor does it keep the host's own away, should that come later.
        a.ip(&["address", "del", "10.0.0.1/24", "dev", INTERFACE]).unwrap();
        hold();
        a.ip(&["address", "add", "10.0.0.1/24", "dev", INTERFACE]).unwrap();
        hold();
        on(a, vec![v4.clone(), v6.clone()], async |platform| {
            for address in [&v4, &v6] {
                platform.release(address).unwrap();
            }
            assert!(!platform.state(&v4).unwrap().present);
        });
        assert!(!a.ip(&["address", "show", "dev", INTERFACE]).unwrap().contains("::100"));
    });
}

#[test]
fn with_netns_changes_by_others_are_told() {
    isolated("host::with_netns_changes_by_others_are_told", || {
        let net = Net::new(2).unwrap();
        let a = net.host(0);
        on(a, vec![vip()], async |platform| {
            state_becomes(platform, true, false).await;
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            state_becomes(platform, true, true).await;
            a.ip(&["address", "del", "10.0.0.100/32", "dev", INTERFACE]).unwrap();
            state_becomes(platform, true, false).await;
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            assert!(platform.state(&vip()).unwrap().present, "it is put back");
            state_becomes(platform, true, true).await;
            net.unplug(0).unwrap();
            state_becomes(platform, false, true).await;
            let error = platform.announce(&vip()).unwrap_err().to_string();
            assert_eq!(error, "cannot announce 10.0.0.100/32 on eth0: the interface has no carrier");
            net.plug(0).unwrap();
            state_becomes(platform, true, true).await;

            // More than the socket's buffer holds: the picture is right all the same.
            let mut batch = String::new();
            for number in 0..4000 {
                let address = format!("10.1.{}.{}/32", number / 250, number % 250 + 1);
                batch += &format!(
                    "address add {address} dev {INTERFACE}\naddress del {address} dev {INTERFACE}\n"
                );
            }
            batch += &format!("address del 10.0.0.100/32 dev {INTERFACE}\n");
            run_batch(a, &batch);
            state_becomes(platform, true, false).await;

            // The interface goes and comes again, and the fence with it.
            a.ip(&["link", "del", INTERFACE]).unwrap();
            state_becomes(platform, false, false).await;
            let error = platform.hold(&vip(), clock::now() + LEASE).unwrap_err().to_string();
            assert_eq!(error, "interface eth0, for 10.0.0.100, is not there");
            a.ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "other"]).unwrap();
            for interface in ["other", INTERFACE] {
                a.ip(&["link", "set", interface, "up"]).unwrap();
            }
            state_becomes(platform, true, false).await;
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            state_becomes(platform, true, true).await;
        });
        let hooks = a.run(|| uninstall_fence().unwrap());
        assert!(hooks, "the fence was there");
        assert!(!a.run(|| uninstall_fence().unwrap()), "and is gone");
    });
}

#[test]
fn with_netns_claims_of_others_are_heard_behind_the_fence_too() {
    isolated("host::with_netns_claims_of_others_are_heard_behind_the_fence_too", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        let claimed = async |platform: &mut Platform| {
            event(platform, |event| match event {
                Event::Claimed { address, by } => Some((address, by)),
                Event::Address { .. } => None,
            })
            .await
        };
        on(a, vec![vip(), vip6()], async |platform| {
            for address in [vip(), vip6()] {
                let other = || {
                    on(b, vec![address.clone()], async |platform| {
                        platform.hold(&address, clock::now() + LEASE).unwrap();
                        platform.announce(&address).unwrap();
                    });
                };
                other();
                assert_eq!(claimed(platform).await, (address.clone(), b.mac), "behind a closed fence");
                // It answers a probe.
                while tokio::time::timeout(ms(20), platform.next()).await.is_ok() {}
                platform.probe(&address).unwrap();
                assert_eq!(claimed(platform).await, (address.clone(), b.mac), "in answer to a probe");
                // Both hold it now, which is what a conflict is.
                platform.hold(&address, clock::now() + LEASE).unwrap();
                other();
                assert_eq!(claimed(platform).await, (address.clone(), b.mac), "through an open fence");
                on(b, vec![address.clone()], async |platform| platform.release(&address).unwrap());
                // What this host says itself is no claim of another.
                while tokio::time::timeout(ms(20), platform.next()).await.is_ok() {}
                platform.hold(&address, clock::now() + LEASE).unwrap();
                platform.announce(&address).unwrap();
                platform.probe(&address).unwrap();
                let heard = tokio::time::timeout(ms(100), platform.next()).await;
                assert!(!matches!(heard, Ok(Ok(Event::Claimed { .. }))), "{heard:?}");
                platform.release(&address).unwrap();
            }
        });
    });
}

#[test]
fn with_netns_an_announcement_moves_everybodys_neighbour_entry() {
    isolated("host::with_netns_an_announcement_moves_everybodys_neighbour_entry", || {
        let net = Net::new(3).unwrap();
        let (a, b, c) = (net.host(0), net.host(1), net.host(2));
        for address in [vip(), vip6()] {
            echo_once(c, address.address, || {
                on(a, vec![address.clone()], async |platform| {
                    platform.hold(&address, clock::now() + Duration::from_secs(1)).unwrap();
                    platform.announce(&address).unwrap();
                });
            });
            assert_eq!(c.neighbour(address.address).unwrap(), Some(a.mac));
            on(a, vec![address.clone()], async |platform| platform.release(&address).unwrap());
            // The old holder's host is a client as well: it has an entry that points to somebody else.
            let text = address.address.to_string();
            a.ip(&[
                "neigh",
                "replace",
                &text,
                "lladdr",
                "02:00:00:00:00:63",
                "nud",
                "stale",
                "dev",
                INTERFACE,
            ])
            .unwrap();
            on(b, vec![address.clone()], async |platform| {
                platform.hold(&address, clock::now() + LEASE).unwrap();
                platform.announce(&address).unwrap();
            });
            for host in [c, a] {
                let deadline = Instant::now() + Duration::from_secs(1);
                while host.neighbour(address.address).unwrap() != Some(b.mac) {
                    assert!(
                        Instant::now() < deadline,
                        "{}: {:?}",
                        host.name,
                        host.neighbour(address.address)
                    );
                    std::thread::sleep(ms(5));
                }
            }
        }
    });
}

/// Makes `host` resolve an address once `holder` has it.
fn echo_once(host: &Host, address: IpAddr, holder: impl FnOnce()) {
    holder();
    let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    host.run(|| UdpSocket::bind(any).unwrap().send_to(b"x", (address, 9)).unwrap());
    let deadline = Instant::now() + Duration::from_secs(2);
    while host.neighbour(address).unwrap().is_none() {
        assert!(Instant::now() < deadline, "{address} is resolved");
        std::thread::sleep(ms(5));
    }
}

#[test]
fn with_netns_facts_of_an_interface_are_what_the_kernel_has() {
    isolated("host::with_netns_facts_of_an_interface_are_what_the_kernel_has", || {
        let net = Net::new(1).unwrap();
        let a = net.host(0);
        let findings = |address: VirtualAddress| {
            a.run(|| facts::findings(&address, &facts::facts(&address).unwrap()))
                .into_iter()
                .map(|finding| finding.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(findings(vip()), [""; 0]);
        assert_eq!(findings(vip6()), [""; 0]);
        on(a, vec![vip()], async |platform| platform.hold(&vip(), clock::now() + LEASE).unwrap());
        assert_eq!(findings(vip()), [""; 0], "our own address is no finding");

        assert!(
            findings(virtual_address("10.9.0.1"))[0]
                .contains("no address in a network that contains 10.9.0.1")
        );
        let nowhere = VirtualAddress { interface: "eth9".into(), ..vip() };
        assert_eq!(findings(nowhere), ["interface eth9, for 10.0.0.100, is not there: see `ip link`"]);
        a.run(|| {
            for (name, value) in [("ipv4/conf/eth0/arp_ignore", "2"), ("ipv4/conf/eth0/proxy_arp", "1")] {
                std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
            }
        });
        let found = findings(vip());
        assert!(
            found[0].starts_with("arp_ignore is 2 on eth0") && found[1].starts_with("proxy_arp"),
            "{found:?}"
        );
        a.run(|| {
            for (name, value) in [
                ("ipv4/conf/eth0/arp_ignore", "0"),
                ("ipv4/conf/eth0/proxy_arp", "0"),
                ("ipv6/conf/eth0/disable_ipv6", "1"),
            ] {
                std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
            }
        });
        assert!(findings(vip6()).iter().any(|text| text.starts_with("IPv6 is off on eth0")));
        a.ip(&["link", "add", "eth1", "type", "veth", "peer", "name", "other"]).unwrap();
        for interface in ["other", "eth1"] {
            a.ip(&["link", "set", interface, "up"]).unwrap();
        }
        a.ip(&["address", "add", "10.0.0.5/24", "dev", "eth1"]).unwrap();
        let found = findings(vip());
        assert!(found[0].starts_with("eth1 would answer ARP for 10.0.0.100 as well"), "{found:?}");
        a.ip(&["link", "add", "bridge", "type", "bridge"]).unwrap();
        a.ip(&["link", "set", INTERFACE, "master", "bridge"]).unwrap();
        assert!(findings(vip()).iter().any(|text| text.starts_with("interface eth0 is a port of a bridge")));
    });
}
