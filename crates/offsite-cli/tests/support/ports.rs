//! Ports of this host that nobody else is given.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;

/// Below the ports that the kernel gives to outgoing connections: a server that was stopped finds its
/// ports free when it starts again.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_767;
const BLOCK: u16 = 16;

/// A few adjacent ports on loopback, for as long as this lives.
pub(crate) struct Ports {
    /// Holds the first port of the block. Whoever else wants the block, in any process, fails on it.
    claim: TcpListener,
}

impl Ports {
    #[track_caller]
    pub(crate) fn claim() -> Self {
        let blocks = u32::from((LAST - FIRST) / BLOCK);
        // Programs that start at once begin at different places.
        let start = process::id() % blocks;
        let mut firsts = (0..blocks).map(|number| {
            let block = u16::try_from((start + number) % blocks).expect("there are fewer blocks than ports");
            FIRST + block * BLOCK
        });
        firsts.find_map(Self::at).expect("some of all ports are free")
    }

    fn at(first: u16) -> Option<Self> {
        let claim = TcpListener::bind(loopback(first)).ok()?;
        let mut others = (first + 1)..(first + BLOCK);
        others.all(|port| TcpListener::bind(loopback(port)).is_ok()).then_some(Self { claim })
    }

    /// One of the ports, from 0 to 14.
    #[track_caller]
    pub(crate) fn address(&self, number: u16) -> SocketAddr {
        assert!(number < BLOCK - 1, "a block holds fewer ports");
        let first = self.claim.local_addr().expect("a listener has an address").port();
        loopback(first + 1 + number)
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
