//! Which addresses are for everybody, and which an operator allows or denies beside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not for everybody (IANA's special-purpose registry, multicast and reserved).
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// What is for everybody in IPv6 is inside of this. Loopback, `::`, mapped and translated (NAT64) addresses, unique
/// local, link-local and multicast ones are outside.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);

/// What is inside of it all the same: Teredo and other protocols, documentation, 6to4, documentation.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0], 23),
    v6([0x2001, 0x0db8], 32),
    v6([0x2002, 0], 16),
    v6([0x3fff, 0], 20),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

/// Which addresses are asked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl Rules {
    /// Addresses that are for everybody and not in `denied`, and those in `allowed`, whatever else is said of them.
    pub fn new(allowed: Vec<IpNet>, denied: Vec<IpNet>) -> Self {
        Self { allowed, denied }
    }

    /// Whether an address is asked.
    pub fn permits(&self, address: IpAddr) -> bool {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        within(&self.allowed) || (is_global(address) && !within(&self.denied))
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address)
                && !SPECIAL_V6.iter().any(|network| network.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rules;

    #[test]
    fn d1_only_addresses_for_everybody_are_asked() {
        let rules = Rules::default();
        for global in [
            "1.1.1.1",
            "192.0.1.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(rules.permits(global.parse().unwrap()), "{global}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!rules.permits(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn an_operator_allows_and_denies_networks() {
        let networks = |text: &str| vec![text.parse().unwrap()];
        let rules = Rules::new(networks("10.1.0.0/16"), networks("0.0.0.0/0"));
        assert!(rules.permits("10.1.2.3".parse().unwrap()));
        assert!(!rules.permits("10.2.0.1".parse().unwrap()));
        assert!(!rules.permits("1.1.1.1".parse().unwrap()));
        assert!(rules.permits("2606:4700::1111".parse().unwrap()));
        assert!(!rules.permits("::ffff:10.1.2.3".parse().unwrap()));
    }
}
