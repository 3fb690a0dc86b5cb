//! The kernel's lease: when an address answers, when it ends by itself, and that nothing opens it late.

use super::*;

/// Judges after how long leases of 300 ms ended, each measured by somebody who asks every 2 ms: in [280, 310] ms in the
/// median, as the one who asks may be late himself.
fn assert_end_in_time(what: &str, mut ends: Vec<Duration>) {
    println!("{what}: the last answers came {ends:?} after leases of 300 ms began");
    ends.sort();
    let median = ends[ends.len() / 2];
    assert!((ms(280)..=ms(310)).contains(&median), "{what}: {ends:?}");
}

/// One hold of 300 ms by `h0`, then nothing: when `h1` was answered last.
fn lease_ends(address: VirtualAddress) {
    let net = Net::new(2).unwrap();
    let (a, b) = (net.host(0), net.host(1));
    let ends = (0..3).map(|_| {
        let prober = b.prober(address.address, ms(2));
        let start = on(a, vec![address.clone()], async |platform| {
            assert_eq!(platform.fence(LEASE), Fence::Kernel);
            let start = Instant::now();
            platform.hold(&address, clock::now() + ms(300)).unwrap();
            println!("the first hold took {:?}", start.elapsed());
            start
        });
        std::thread::sleep(ms(500));
        let (_, heard) = prober.stop();
        assert!(heard.iter().all(|heard| heard.by == a.mac));
        let listed = a.ip(&["address", "show", "to", &address.address.to_string()]).unwrap();
        assert!(
            listed.contains(&address.address.to_string()),
            "it was the fence that ended it, not the lifetime"
        );
        heard.last().unwrap().at - start
    });
    assert_end_in_time("asked where it is", ends.collect());
}

#[test]
fn with_netns_a_lease_ends_by_itself_for_arp() {
    isolated("lease::with_netns_a_lease_ends_by_itself_for_arp", || lease_ends(vip()));
}

#[test]
fn with_netns_a_lease_ends_by_itself_for_neighbour_discovery() {
    isolated("lease::with_netns_a_lease_ends_by_itself_for_neighbour_discovery", || lease_ends(vip6()));
}

#[test]
fn with_netns_a_lease_ends_for_packets_of_who_knows_the_way() {
    isolated("lease::with_netns_a_lease_ends_for_packets_of_who_knows_the_way", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        echo(a, 7);
        for address in [vip(), vip6()] {
            let text = address.address.to_string();
            b.ip(&[
                "neigh",
                "replace",
                &text,
                "lladdr",
                &mac_text(a.mac),
                "nud",
                "permanent",
                "dev",
                INTERFACE,
            ])
            .unwrap();
            let ends = (0..3).map(|_| {
                let (ready, is_ready) = mpsc::channel();
                let to = SocketAddr::new(address.address, 7);
                let (start, answers) = std::thread::scope(|scope| {
                    let asker = scope.spawn(move || {
                        is_ready.recv().unwrap();
                        answered(b, to, ms(2), ms(600)).1
                    });
                    let start = on(a, vec![address.clone()], async |platform| {
                        ready.send(()).unwrap();
                        std::thread::sleep(ms(50));
                        let start = Instant::now();
                        platform.hold(&address, clock::now() + ms(300)).unwrap();
                        start
                    });
                    (start, asker.join().unwrap())
                });
                // When the last datagram was sent that was answered: nobody's lateness is in that.
                let end = *answers.last().expect("datagrams are answered") - start;
                assert!(end <= ms(310), "{end:?}");
                end
            });
            assert_end_in_time(&format!("packets to {text}"), ends.collect());
        }
    });
}

#[test]
fn with_netns_renewing_opens_no_gap_and_an_ended_lease_can_be_had_again() {
    isolated("lease::with_netns_renewing_opens_no_gap_and_an_ended_lease_can_be_had_again", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        echo(a, 7);
        let (held, is_held) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                on(a, vec![vip()], async |platform| {
                    platform.hold(&vip(), clock::now() + ms(100)).unwrap();
                    std::thread::sleep(ms(150));
                    let (start, mut renewals, mut longest) = (Instant::now(), 0, Duration::ZERO);
                    platform.hold(&vip(), clock::now() + LEASE).unwrap();
                    held.send(()).unwrap();
                    while start.elapsed() < ms(2500) {
                        let before = Instant::now();
                        platform.hold(&vip(), clock::now() + ms(60)).unwrap();
                        longest = longest.max(before.elapsed());
                        renewals += 1;
                        std::thread::sleep(ms(1));
                    }
                    println!("{renewals} renewals, the longest {longest:?}");
                });
            });
            is_held.recv().unwrap();
            let (sent, answers) = answered(b, SocketAddr::new(vip().address, 7), ms(1), ms(2200));
            println!("{} of {sent} datagrams answered", answers.len());
            // The last one may still be under way.
            assert!(answers.len() as u32 + 1 >= sent, "{} of {sent}", answers.len());
        });
    });
}

#[test]
fn with_netns_what_was_decided_before_a_pause_opens_nothing_after_it() {
    isolated("lease::with_netns_what_was_decided_before_a_pause_opens_nothing_after_it", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        for (address, add) in
            [(vip().address, &["10.0.0.100/32"][..]), (vip6().address, &["fd00::100/128", "nodad"])]
        {
            a.ip(&[&["address", "add", "dev", INTERFACE][..], add].concat()).unwrap();
            let prober = b.prober(address, ms(2));
            prober.wait_for(Duration::from_secs(1), |_| true).expect("without a fence the address answers");
            a.run(|| {
                let mut kernel = fence::Kernel::open().unwrap();
                kernel.install(&[INTERFACE], &[address]).unwrap();
                std::thread::sleep(ms(20));
                let before = prober.heard().len();
                // The agent is stopped between its decision and the kernel for longer than its proof was good.
                kernel.permit(address, clock::now() + ms(50)).unwrap();
                let entry = kernel.entry(address, clock::now() + LEASE).unwrap();
                std::thread::sleep(ms(60));
                assert_eq!(kernel.carry_out(entry).unwrap(), None, "the permit has expired");
                std::thread::sleep(ms(20));
                assert_eq!(prober.heard().len(), before, "nothing was opened");

                kernel.open_until(address, clock::now() + ms(50)).unwrap();
                let renewal = kernel.renewal(address, clock::now() + LEASE).unwrap();
                std::thread::sleep(ms(60));
                let ended = prober.heard().len();
                assert!(ended > before, "it was open");
                assert_eq!(kernel.carry_out(renewal).unwrap(), None, "the element has expired");
                std::thread::sleep(ms(60));
                assert_eq!(prober.heard().len(), ended, "nothing was opened");

                // A permit serves once, and opens nothing by itself.
                kernel.permit(address, clock::now() + LEASE).unwrap();
                std::thread::sleep(ms(20));
                assert_eq!(prober.heard().len(), ended);
                let entries = [(); 2].map(|()| kernel.entry(address, clock::now() + ms(50)).unwrap());
                let used = entries.map(|entry| kernel.carry_out(entry).unwrap().is_some());
                assert_eq!(used, [true, false]);
                kernel.close(address).unwrap();
            });
        }
        assert!(a.run(|| uninstall_fence().unwrap()));
    });
}

/// The program that [`with_netns_a_dead_agent_stops_answering`] starts in a host: this test, as an agent that renews.
const AGENT: &str = "REDOUBT_TEST_VIP_AGENT";

#[test]
fn with_netns_a_dead_agent_stops_answering() {
    if std::env::var_os(AGENT).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let mut platform = Platform::open(vec![vip()]).unwrap();
            loop {
                platform.hold(&vip(), clock::now() + LEASE).unwrap();
                tokio::time::sleep(ms(50)).await;
            }
        });
    }
    isolated("lease::with_netns_a_dead_agent_stops_answering", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        for signal in [nix::sys::signal::Signal::SIGKILL, nix::sys::signal::Signal::SIGSTOP] {
            let mut agent = a
                .command(std::env::current_exe().unwrap())
                .args(["--exact", "lease::with_netns_a_dead_agent_stops_answering", "--nocapture"])
                .env(AGENT, "1")
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let prober = b.prober(vip().address, ms(2));
            prober.wait_for(Duration::from_secs(10), |_| true).expect("the agent takes the address");
            std::thread::sleep(ms(200));
            let pid = nix::unistd::Pid::from_raw(agent.id() as i32);
            nix::sys::signal::kill(pid, signal).unwrap();
            let end = Instant::now();
            std::thread::sleep(ms(600));
            let (_, heard) = prober.stop();
            agent.kill().unwrap();
            agent.wait().unwrap();
            let answered_for = heard.last().unwrap().at.saturating_duration_since(end);
            println!("after {signal} the address answered for {answered_for:?}");
            // By as much may the one who asks be late to hear the last answer.
            assert!(answered_for <= LEASE + ms(10), "{signal}: {answered_for:?}");
            assert!(answered_for >= ms(300), "{signal}: the lease was renewed each 50 ms: {answered_for:?}");
            // The next agent finds what this one left.
            on(a, vec![vip()], async |platform| {
                let left = platform.leftovers().unwrap();
                assert_eq!(left.len(), 1, "{left:?}");
                platform.remove_leftover(&left[0]).unwrap();
                assert_eq!(platform.leftovers().unwrap(), []);
            });
        }
    });
}

#[test]
fn with_netns_a_successor_goes_on_without_a_gap() {
    isolated("lease::with_netns_a_successor_goes_on_without_a_gap", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        echo(a, 7);
        let (held, is_held) = mpsc::channel();
        let to = SocketAddr::new(vip().address, 7);
        let hold = |time: Duration| {
            on(a, vec![vip()], async |platform| platform.hold(&vip(), clock::now() + time).unwrap());
        };
        std::thread::scope(|scope| {
            let successors = scope.spawn(|| {
                for _ in 0..20 {
                    // Each knows nothing of the one before, whose element still lives.
                    hold(Duration::from_secs(5));
                    let _ = held.send(());
                }
            });
            is_held.recv().unwrap();
            while !successors.is_finished() {
                let (sent, answers) = answered(b, to, ms(1), ms(200));
                println!("{} of {sent} datagrams answered", answers.len());
                // The last one may still be under way.
                assert!(answers.len() as u32 + 1 >= sent, "{} of {sent}", answers.len());
            }
        });
        // The last word counts, also if it is shorter.
        hold(ms(200));
        std::thread::sleep(ms(200));
        assert!(answered(b, to, ms(5), ms(100)).1.is_empty());
    });
}

/// A predecessor that was killed left its address on the host, behind the fence. Who comes after it and has yet to learn
/// which addresses there are leaves the fence standing; so do its own rules when they take the place of the old ones.
#[test]
fn with_netns_a_successor_that_starts_opens_nothing() {
    isolated("lease::with_netns_a_successor_that_starts_opens_nothing", || {
        let net = Net::new(2).unwrap();
        let (holder, client) = (net.host(0), net.host(1));
        on(holder, vec![vip()], async |platform| platform.hold(&vip(), clock::now() + ms(50)).unwrap());
        std::thread::sleep(ms(60));
        let prober = client.prober(vip().address, ms(1));
        on(holder, Vec::new(), async |platform| {
            tokio::time::sleep(ms(50)).await;
            platform.configure(vec![vip()]).unwrap();
            assert!(platform.state(&vip()).unwrap().present, "the address outlives the lease");
            tokio::time::sleep(ms(50)).await;
            platform.release(&vip()).unwrap();
        });
        let (asked, heard) = prober.stop();
        assert!(asked > 20 && heard.is_empty(), "{} of {asked} questions were answered", heard.len());
    });
}

#[test]
fn with_netns_letting_go_ends_at_once_and_removes_only_what_is_ours() {
    isolated("lease::with_netns_letting_go_ends_at_once_and_removes_only_what_is_ours", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        let prober = b.prober(vip().address, ms(2));
        on(a, vec![vip(), vip6()], async |platform| {
            for address in [vip(), vip6()] {
                // Never held: nothing to do.
                platform.release(&address).unwrap();
                platform.hold(&address, clock::now() + LEASE).unwrap();
            }
            prober.wait_for(LEASE, |_| true).expect("the address answers");
            platform.release(&vip()).unwrap();
            let released = Instant::now();
            std::thread::sleep(ms(100));
            let last = prober.last().unwrap().at.saturating_duration_since(released);
            assert!(last < ms(20), "it answered for {last:?}");
            let shown = a.ip(&["address", "show", "dev", INTERFACE]).unwrap();
            assert!(!shown.contains("10.0.0.100") && shown.contains("fd00::100"), "{shown}");
            assert!(platform.hold(&vip(), clock::now()).unwrap_err().to_string().contains("was over before"));

            // Somebody else's address of that name is reported, and stays.
            platform.release(&vip6()).unwrap();
            a.ip(&["address", "add", "10.0.0.100/24", "dev", INTERFACE]).unwrap();
            let error = platform.hold(&vip(), clock::now() + LEASE).unwrap_err().to_string();
            assert!(error.contains("10.0.0.100/24 is on this host already"), "{error}");
            platform.release(&vip()).unwrap();
            let shown = a.ip(&["address", "show", "dev", INTERFACE]).unwrap();
            assert!(shown.contains("10.0.0.100/24") && shown.contains("10.0.0.1/24"), "{shown}");
        });
        std::thread::sleep(ms(50));
        let before = prober.heard().len();
        std::thread::sleep(ms(50));
        assert_eq!(prober.heard().len(), before, "the fence keeps the other program's address quiet");
    });
}

#[test]
fn with_netns_a_recreated_interface_is_fenced_again() {
    isolated("lease::with_netns_a_recreated_interface_is_fenced_again", || {
        let net = Net::new(1).unwrap();
        let a = net.host(0);
        on(a, vec![vip()], async |platform| {
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            a.ip(&["link", "del", INTERFACE]).unwrap();
            a.ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "other"]).unwrap();
            a.ip(&["link", "set", INTERFACE, "up"]).unwrap();
            a.ip(&["link", "set", "other", "up"]).unwrap();
            state_becomes(platform, true, false).await;
            platform.hold(&vip(), clock::now() + ms(100)).unwrap();
            std::thread::sleep(ms(150));
            // What comes in at eth0 now meets the fence: its counterpart asks, and nobody answers.
            let question = frames::probe(vip().address, [2, 0, 0, 0, 0, 99]);
            let socket =
                redoubt_vip_hook::platform::packet::PacketSocket::open(vip().address, &[vip().address])
                    .unwrap();
            let other = nix::net::if_::if_nametoindex("other").unwrap();
            socket.send(other, &question).unwrap();
            let answer = tokio::time::timeout(ms(100), socket.heard()).await;
            assert!(answer.is_err(), "{answer:?}");
            platform.hold(&vip(), clock::now() + ms(100)).unwrap();
            socket.send(other, &question).unwrap();
            let answer =
                tokio::time::timeout(ms(100), socket.heard()).await.expect("with a lease it answers");
            assert_eq!(answer.unwrap().claim.address, vip().address);
        });
    });
}

#[test]
fn with_netns_a_lease_ends_at_other_interfaces_and_on_the_host_itself() {
    isolated("lease::with_netns_a_lease_ends_at_other_interfaces_and_on_the_host_itself", || {
        let net = Net::new(1).unwrap();
        let a = net.host(0);
        echo(a, 7);
        // A second interface, whose other end asks; Linux answers there as well.
        a.ip(&["link", "add", "eth1", "type", "veth", "peer", "name", "other"]).unwrap();
        for interface in ["other", "eth1"] {
            a.ip(&["link", "set", interface, "up"]).unwrap();
        }
        a.ip(&["address", "add", "10.0.0.5/24", "dev", "eth1"]).unwrap();
        on(a, vec![vip(), vip6()], async |platform| {
            let other = nix::net::if_::if_nametoindex("other").unwrap();
            let socket = PacketSocket::open(vip().address, &[vip().address]).unwrap();
            let answers = async |host: &Host| {
                socket.send(other, &frames::probe(vip().address, [2, 0, 0, 0, 0, 99])).unwrap();
                let arp = tokio::time::timeout(ms(40), socket.heard()).await.is_ok();
                let packets = [vip(), vip6()].map(|address| {
                    let to = SocketAddr::new(address.address, 7);
                    !answered(host, to, ms(5), ms(40)).1.is_empty()
                });
                (arp, packets)
            };
            for address in [vip(), vip6()] {
                platform.hold(&address, clock::now() + ms(1000)).unwrap();
            }
            assert_eq!(answers(a).await, (true, [true; 2]));
            for address in [vip(), vip6()] {
                platform.hold(&address, clock::now() + ms(50)).unwrap();
            }
            std::thread::sleep(ms(60));
            assert_eq!(answers(a).await, (false, [false; 2]));
            for address in [vip(), vip6()] {
                platform.hold(&address, clock::now() + ms(1000)).unwrap();
            }
            assert_eq!(answers(a).await, (true, [true; 2]));
        });
    });
}

#[test]
fn with_netns_what_is_forwarded_to_the_holder_passes() {
    isolated("lease::with_netns_what_is_forwarded_to_the_holder_passes", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        echo(b, 7);
        // `a` has the fence and not the address, and is the router of a guest behind it.
        a.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        on(a, vec![vip()], async |_| ());
        b.ip(&["address", "add", "10.0.0.100/32", "dev", INTERFACE]).unwrap();
        b.ip(&["route", "add", "10.2.0.0/24", "via", &a.address.to_string()]).unwrap();
        let guest = net.guest(0, "10.2.0.1/24", "10.2.0.2/24").unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while answered(&guest, SocketAddr::new(vip().address, 7), ms(10), ms(100)).1.is_empty() {
            assert!(Instant::now() < deadline, "the guest reaches the holder");
        }
    });
}

#[test]
fn with_netns_rules_that_were_flushed_come_back_with_the_next_renewal() {
    isolated("lease::with_netns_rules_that_were_flushed_come_back_with_the_next_renewal", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        on(a, vec![vip()], async |platform| {
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            assert!(uninstall_fence().unwrap());
            platform.release(&vip()).unwrap();
            let prober = b.prober(vip().address, ms(2));
            platform.hold(&vip(), clock::now() + ms(100)).unwrap();
            assert!(prober.wait_for(ms(300), |_| true).is_some());
            std::thread::sleep(ms(200));
            let before = prober.heard().len();
            std::thread::sleep(ms(50));
            assert_eq!(prober.heard().len(), before);
        });
    });
}

#[test]
fn with_netns_a_host_whose_lease_is_over_names_itself_to_nobody() {
    isolated("lease::with_netns_a_host_whose_lease_is_over_names_itself_to_nobody", || {
        let net = Net::new(2).unwrap();
        let (a, b) = (net.host(0), net.host(1));
        let speak = || {
            // A connection that outlived the lease: the kernel asks for its peer in the address's name.
            a.ip(&["neigh", "flush", "dev", INTERFACE]).unwrap();
            a.run(|| {
                let socket = UdpSocket::bind((vip().address, 0)).unwrap();
                let _ = socket.send_to(b"x", (b.address, 9));
            });
        };
        // Asks nothing: it only listens.
        let listener = b.prober("10.0.0.100".parse().unwrap(), Duration::from_secs(3600));
        on(a, vec![vip()], async |platform| {
            platform.hold(&vip(), clock::now() + LEASE).unwrap();
            speak();
            let named = |heard: &Heard| heard.by == a.mac;
            assert!(listener.wait_for(ms(200), named).is_some(), "with a lease it does");
        });
        std::thread::sleep(LEASE);
        let before = listener.heard().len();
        assert!(
            a.ip(&["address", "show", "dev", INTERFACE]).unwrap().contains("10.0.0.100"),
            "it is still there"
        );
        speak();
        std::thread::sleep(ms(100));
        assert_eq!(listener.heard().len(), before);
    });
}

#[test]
fn with_netns_without_the_right_the_fence_says_so() {
    isolated("lease::with_netns_without_the_right_the_fence_says_so", || {
        let net = Net::new(1).unwrap();
        net.host(0).run(|| {
            assert_eq!(capabilities::missing().unwrap(), []);
            capabilities::keep_only_needed().unwrap();
            assert_eq!(capabilities::missing().unwrap(), []);
            assert!(fence::Kernel::open().is_ok(), "the two are enough");
            for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
                caps::drop(None, set, caps::Capability::CAP_NET_ADMIN).unwrap();
            }
            let missing = capabilities::missing().unwrap();
            assert!(capabilities::advice(&missing).unwrap().starts_with("CAP_NET_ADMIN missing"));
            let reason = fence::Kernel::open().unwrap_err();
            assert_eq!(reason, "nf_tables needs CAP_NET_ADMIN");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut platform = Platform::open(vec![vip()]).unwrap();
                let fence = platform.fence(LEASE);
                assert_eq!(fence, Fence::Unavailable { reason, worst_case_s: 3 });
                assert!(fence.to_string().contains("for up to 3 s"), "{fence}");
                let error = platform.hold(&vip(), clock::now() + LEASE).unwrap_err().to_string();
                assert!(error.starts_with("cannot add 10.0.0.100/32 on eth0: "), "{error}");
            });
        });
    });
}
