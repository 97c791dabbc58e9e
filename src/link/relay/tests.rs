use super::*;

fn server() -> UdpSocket {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server
}

fn relay(server: &UdpSocket, spec: &str) -> Relay {
    let listen = "127.0.0.1:0".parse().unwrap();
    Relay::start(listen, server.local_addr().unwrap(), spec.parse().unwrap()).unwrap()
}

fn client(relay: &Relay) -> UdpSocket {
    let client = server();
    client.connect(relay.address()).unwrap();
    client
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(5), "in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn carries_both_ways_with_the_delay_asked_for() {
    let server = server();
    let relay = relay(&server, "delay=20ms");
    let client = client(&relay);
    let mut trips = Vec::new();
    for number in 0..50_u8 {
        let sent = Instant::now();
        client.send(&[number; 100]).unwrap();
        let (there, from) = receive(&server);
        assert_eq!(there, [number; 100]);
        server.send_to(&[number; 50], from).unwrap();
        assert_eq!(receive(&client).0, [number; 50]);
        trips.push(sent.elapsed());
    }
    // The quickest tells how well the relay keeps time; others a busy machine may hold up.
    let quickest = trips.iter().min().unwrap();
    assert!((Duration::from_millis(40)..Duration::from_millis(41)).contains(quickest), "{trips:?}");
    let counters = relay.counters();
    assert_eq!(counters.up.link.delivered.packets, 50);
    assert_eq!(counters.up.link.delivered.bytes, ByteCount::new(50 * 128));
    assert_eq!(counters.down.link.delivered.packets, 50);
    assert_eq!((counters.up.not_forwarded, counters.down.not_forwarded, counters.clients), (0, 0, 1));
}

#[test]
fn the_rate_holds_in_real_time() {
    let server = server();
    let relay = relay(&server, "rate=8M,queue=1000000");
    let client = client(&relay);
    // 200 packets of 1000 bytes on the wire take 200 ms at 8 Mbit/s.
    let sent = Instant::now();
    for _ in 0..200 {
        client.send(&[0; 972]).unwrap();
    }
    let mut longest = ByteCount::ZERO;
    for _ in 0..200 {
        receive(&server);
        longest = longest.max(relay.counters().up.queued);
    }
    let took = sent.elapsed();
    assert!(longest > ByteCount::new(100_000), "{longest:?}");
    assert!((Duration::from_millis(198)..Duration::from_millis(400)).contains(&took), "{took:?}");
    assert_eq!(relay.counters().up.capacity, Some(Bitrate::from_kbps(8000)));
}

#[test]
fn a_client_that_comes_back_from_another_port_and_a_second_one_both_have_their_way() {
    let server = server();
    let relay = relay(&server, "");
    let (first, second) = (client(&relay), client(&relay));
    first.send(b"first").unwrap();
    let (_, first_peer) = receive(&server);
    second.send(b"second").unwrap();
    let (_, second_peer) = receive(&server);
    assert_ne!(first_peer, second_peer);
    server.send_to(b"to second", second_peer).unwrap();
    server.send_to(b"to first", first_peer).unwrap();
    assert_eq!(receive(&first).0, b"to first");
    assert_eq!(receive(&second).0, b"to second");
    assert_eq!(relay.client(), Some(second.local_addr().unwrap()));
}

#[test]
fn sessions_are_bounded_and_the_silent_one_goes() {
    let server = server();
    let relay = relay(&server, "");
    let clients: Vec<_> = (0..=MAX_SESSIONS).map(|_| client(&relay)).collect();
    let mut peers = Vec::new();
    for client in &clients {
        client.send(b"hello").unwrap();
        peers.push(receive(&server).1);
    }
    // The first was silent for longest; coming back, it is another peer.
    clients[0].send(b"again").unwrap();
    let (_, again) = receive(&server);
    assert!(!peers.contains(&again));
    assert_eq!(relay.counters().clients, MAX_SESSIONS as u64 + 2);
}

#[test]
fn cuts_and_restores() {
    let server = server();
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let relay = relay(&server, "delay=500ms");
    let client = client(&relay);
    client.send(b"under way").unwrap();
    wait_until(|| relay.counters().up.link.delivered.packets == 1);
    relay.set_outage(true);
    client.send(b"cut").unwrap();
    wait_until(|| relay.counters().up.not_forwarded == 1);
    assert!(server.recv(&mut [0; 100]).is_err());
    relay.set_outage(false);
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send(b"back").unwrap();
    assert_eq!(receive(&server).0, b"back");
    let up = relay.counters().up;
    assert_eq!((up.link.outage_drops.packets, up.not_forwarded), (1, 1));
}

#[test]
fn injects_in_the_servers_name() {
    let server = server();
    let relay = relay(&server, "");
    assert_eq!(relay.inject(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    let client = client(&relay);
    client.send(b"hello").unwrap();
    let (_, peer) = receive(&server);
    assert_eq!(relay.client_srt_socket(), None);
    let mut acknowledgement = [0; 16];
    acknowledgement[0] = 0x80;
    acknowledgement[1] = 2;
    acknowledgement[12..].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
    server.send_to(&acknowledgement, peer).unwrap();
    receive(&client);
    assert_eq!(relay.client_srt_socket(), Some(0x1234_5678));
    // The client's socket is connected, so only the relay's own address can reach it.
    relay.inject(b"hostile").unwrap();
    assert_eq!(receive(&client).0, b"hostile");
}

#[test]
fn survives_a_server_that_is_not_there_yet() {
    let port = server();
    let target = port.local_addr().unwrap();
    drop(port);
    let relay = Relay::start("127.0.0.1:0".parse().unwrap(), target, Spec::default()).unwrap();
    let client = client(&relay);
    client.send(b"nobody").unwrap();
    wait_until(|| relay.counters().up.not_forwarded == 1);
    let server = UdpSocket::bind(target).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send(b"somebody").unwrap();
    assert_eq!(receive(&server).0, b"somebody");
    assert_eq!(relay.counters().up.not_forwarded, 1);
}

#[test]
fn stops_at_once_when_dropped() {
    let server = server();
    let relay = relay(&server, "delay=10s");
    client(&relay).send(b"hello").unwrap();
    let dropped = Instant::now();
    drop(relay);
    assert!(dropped.elapsed() < Duration::from_millis(500));
}

#[test]
fn routes_share_the_link_and_are_counted_apart() {
    let (first_server, second_server) = (server(), server());
    let routes = [&first_server, &second_server]
        .map(|server| ("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap()));
    let relay = Relay::start_shared(&routes, "rate=8M,queue=1000000".parse().unwrap()).unwrap();
    relay.record();
    let clients = [0, 1].map(|route: usize| {
        let client = server();
        client.connect(relay.addresses()[route]).unwrap();
        client
    });
    // 100 packets of 1000 bytes on the wire and 100 of 500 take 150 ms at 8 Mbit/s: the queue is one.
    let begun = Instant::now();
    for _ in 0..100 {
        clients[0].send(&[1; 972]).unwrap();
        clients[1].send(&[2; 472]).unwrap();
    }
    for _ in 0..100 {
        assert_eq!(receive(&first_server).0, [1; 972]);
        assert_eq!(receive(&second_server).0, [2; 472]);
    }
    let took = begun.elapsed();
    assert!((Duration::from_millis(149)..Duration::from_millis(350)).contains(&took), "{took:?}");
    let bytes: Vec<u64> = relay.routes().iter().map(|route| route.up.delivered.bytes.get()).collect();
    assert_eq!(bytes, [100_000, 50_000]);
    assert_eq!(relay.counters().up.link.delivered.bytes, ByteCount::new(150_000));
    // The way back leads to the right client.
    let (_, peer) = {
        clients[1].send(b"ping").unwrap();
        receive(&second_server)
    };
    second_server.send_to(b"pong", peer).unwrap();
    assert_eq!(receive(&clients[1]).0, b"pong");

    let record = relay.take_record();
    assert_eq!(record.len(), 201);
    let of_first = record.iter().filter(|passage| passage.route == 0);
    assert_eq!(of_first.map(|passage| passage.bytes).sum::<ByteCount>(), ByteCount::new(100_000));
    assert!(record.is_sorted_by_key(|passage| passage.at));
    let longest = record.iter().filter_map(|passage| match passage.verdict {
        Verdict::Deliver { queued, .. } => Some(queued),
        Verdict::Dropped(_) => None,
    });
    assert!(longest.max().unwrap() > Duration::from_millis(100));
    assert!(relay.take_record().is_empty());
}

#[test]
fn an_upload_fills_what_the_client_leaves() {
    let server = server();
    let relay = relay(&server, "rate=10M,delay=5ms,queue=20000,cross=cubic@0s+60s");
    assert_eq!(relay.counters().cross, Traffic::default());
    let client = client(&relay);
    client.send(b"the clock starts").unwrap();
    thread::sleep(Duration::from_millis(1500));
    let (from, before) = (relay.elapsed(), relay.counters());
    thread::sleep(Duration::from_millis(1000));
    let (to, after) = (relay.elapsed(), relay.counters());
    let capacity = relay.capacity_between(from, to).unwrap().get() as f64;
    let share = (after.cross.bytes - before.cross.bytes).get() as f64 / capacity;
    assert!((0.9..=1.05).contains(&share), "{share}");
    assert!(after.up.link.offered.packets > 1000, "{after:?}");
    assert_eq!(relay.routes()[0].up.offered.packets, 1);
}

#[test]
fn a_relay_without_a_route_is_refused() {
    let error = Relay::start_shared(&[], Spec::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
