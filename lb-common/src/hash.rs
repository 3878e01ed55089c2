//! The keyed hash of a flow's tuple.
//!
//! Pair-multiply-shift (Thorup, "High Speed Hashing for Integers and Strings", section 3.5, after
//! Dietzfelbinger 1996): the sum over pairs of 32-bit words of `(x0 + a0) * (x1 + a1)` modulo 2^64. With secret
//! random `a` the chance that two tuples of an outsider's choice share a bucket is that of two random ones. The
//! sum is linear in each word, so with some secrets a client's consecutive ports would walk around the table in
//! steps that miss most of it; a fixed multiplication of the folded sum breaks the steps up. Three
//! multiplications for IPv4, six for IPv6.

use crate::net::{Address, Be16, Protocol};

/// The random numbers that key one hash: 4 are used by IPv4, 10 by IPv6.
pub type Secrets = [u64; 10];

/// Hashes a tuple to 32 uniformly distributed bits.
#[inline(always)]
pub fn tuple<A: Address>(
    secrets: &Secrets,
    source: A,
    destination: A,
    ports: (Be16, Be16),
    protocol: Protocol,
) -> u32 {
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9] = *secrets;
    let port_word = u32::from(ports.0.raw()) | u32::from(ports.1.raw()) << 16;
    let mut sum = pair(s0, s1, port_word, u32::from(protocol.number()));
    sum = sum.wrapping_add(pair(s2, s3, source.word(0), destination.word(0)));
    if A::WORDS > 1 {
        sum = sum.wrapping_add(pair(s4, s5, source.word(1), destination.word(1)));
        sum = sum.wrapping_add(pair(s6, s7, source.word(2), destination.word(2)));
        sum = sum.wrapping_add(pair(s8, s9, source.word(3), destination.word(3)));
    }
    mix(sum)
}

/// [`tuple`] of IPv4, from words of the packet: source, destination, and both ports.
#[inline(always)]
pub const fn words_v4(secrets: &Secrets, (source, destination, ports): (u32, u32, u32), protocol: u8) -> u32 {
    let [s0, s1, s2, s3, ..] = *secrets;
    mix(pair(s0, s1, ports, protocol as u32).wrapping_add(pair(s2, s3, source, destination)))
}

/// Hashes a socket's cookie and the listener that it dials to 32 uniformly distributed bits.
#[inline(always)]
pub fn socket(secrets: &Secrets, cookie: u64, listener: u32) -> u32 {
    let [s0, s1, s2, s3, ..] = *secrets;
    mix(pair(s0, s1, cookie as u32, (cookie >> 32) as u32).wrapping_add(pair(s2, s3, listener, 0)))
}

#[inline(always)]
const fn pair(a0: u64, a1: u64, x0: u32, x1: u32) -> u64 {
    a0.wrapping_add(x0 as u64).wrapping_mul(a1.wrapping_add(x1 as u64))
}

/// 2^64 by the golden ratio (Knuth, "The Art of Computer Programming", volume 3, section 6.4): its multiples keep
/// neighbours apart.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The upper half of a product in which every bit of the sum counts.
#[inline(always)]
const fn mix(sum: u64) -> u32 {
    ((sum ^ sum >> 32).wrapping_mul(GOLDEN) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maglev;
    use crate::net::{Ipv4, Ipv6};

    const SECRETS: Secrets = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0x2545_f491_4f6c_dd1d,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x8ebc_6af0_9c88_c6e3,
        0x5899_65cc_7537_4cc3,
        0x1d8e_4e27_c47d_124f,
    ];

    /// Buckets' loads of `n` tuples that differ in one field only, as chi-squared per degree of freedom.
    fn spread(n: u32, hash: impl Fn(u32) -> u32) -> f64 {
        const BUCKETS: u32 = 256;
        let mut loads = [0_u32; BUCKETS as usize];
        (0..n).for_each(|i| loads[(hash(i) >> 24) as usize] += 1);
        let mean = f64::from(n) / f64::from(BUCKETS);
        loads.iter().map(|&l| (f64::from(l) - mean).powi(2) / mean).sum::<f64>() / f64::from(BUCKETS - 1)
    }

    #[test]
    fn consecutive_ports_and_addresses_spread() {
        let vip = Ipv4([203, 0, 113, 80]);
        let by_port = spread(60_000, |i| {
            let ports = (Be16::new(i as u16), Be16::new(80));
            tuple(&SECRETS, Ipv4([198, 51, 100, 1]), vip, ports, Protocol::Tcp)
        });
        let by_address = spread(60_000, |i| {
            tuple(&SECRETS, Ipv4(i.to_be_bytes()), vip, (Be16::new(4000), Be16::new(80)), Protocol::Tcp)
        });
        // Sequences may fall more evenly than chance; they must not fall less evenly.
        assert!(by_port < 1.5, "{by_port}");
        assert!(by_address < 1.5, "{by_address}");
    }

    /// Numbers by a fixed rule (SplitMix64; Steele et al., OOPSLA '14).
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(SECRETS[0]);
            let mut z = state;
            z = (z ^ z >> 30).wrapping_mul(SECRETS[1]);
            z = (z ^ z >> 27).wrapping_mul(SECRETS[2]);
            z ^ z >> 31
        }
    }

    #[test]
    fn no_secrets_send_consecutive_ports_past_a_backend() {
        const TRIALS: u32 = 20_000;
        const SLOTS: u32 = 251;
        let mut random = numbers(1);
        let table: Vec<usize> = (0..SLOTS).map(|_| (random() % 3) as usize).collect();
        let mut misses = 0;
        for _ in 0..TRIALS {
            let secrets: Secrets = std::array::from_fn(|_| random());
            let first = random() as u16;
            let mut answered = [false; 3];
            for port in (0..30).map(|i| Be16::new(first.wrapping_add(2 * i))) {
                let ports = (port, Be16::new(80));
                let (client, vip) = (Ipv4([198, 51, 100, 1]), Ipv4([203, 0, 113, 80]));
                let hash = tuple(&secrets, client, vip, ports, Protocol::Tcp);
                answered[table[maglev::slot(hash, SLOTS) as usize]] = true;
            }
            misses += u32::from(answered != [true; 3]);
        }
        // Chance alone misses one in 64,000 times; steps through the table did in one of 400.
        assert!(misses <= 4, "{misses} of {TRIALS}");
    }

    #[test]
    fn consecutive_sockets_spread() {
        let by_cookie = spread(60_000, |i| socket(&SECRETS, u64::from(i), 7));
        assert!(by_cookie < 1.5, "{by_cookie}");
    }

    #[test]
    fn every_word_of_an_ipv6_address_counts() {
        let base = Ipv6::new([0x20; 16]);
        let ports = (Be16::new(1), Be16::new(2));
        let reference = tuple(&SECRETS, base, base, ports, Protocol::Udp);
        for byte in 0..16 {
            let mut other = base;
            let mut bytes = other.bytes();
            bytes[byte] ^= 1;
            other = Ipv6::new(bytes);
            assert_ne!(reference, tuple(&SECRETS, other, base, ports, Protocol::Udp), "source byte {byte}");
            assert_ne!(reference, tuple(&SECRETS, base, other, ports, Protocol::Udp), "destination {byte}");
        }
    }
}
