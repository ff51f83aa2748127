//! Which addresses are one client. A network of IPv6 is what a provider gives to one customer: a /56, whose owner has
//! more addresses than any table has rows.

use std::net::IpAddr;

/// The bits of an IPv6 address that count.
const V6_PREFIX: u32 = 56;

/// The network of an address as a number: an IPv4 address as it is, an IPv6 address without its last 72 bits.
pub(crate) fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        // An address of IPv4 as a part of IPv6 is like no network of IPv6: those end with zeros.
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() & (u128::MAX << (128 - V6_PREFIX)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::network;

    #[test]
    fn ipv4_counts_by_32_bits_and_ipv6_by_56() {
        let same = [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8::2"),
            ("2001:db8:0:ff::1", "2001:db8:0:12:ffff:ffff:ffff:ffff"),
        ];
        let different = [
            ("192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::"),
            ("2001:db8::1", "2001:db8:0:100::1"),
            ("2001:db8::1", "2001:db9::1"),
        ];
        let of = |text: &str| network(text.parse::<IpAddr>().unwrap());
        for (one, other) in same {
            assert_eq!(of(one), of(other), "{one} {other}");
        }
        for (one, other) in different {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
}
