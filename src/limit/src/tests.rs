//! The limits with a clock that tests move.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use config::{Rate, RateLimits};
use ruma_common::{UserId, user_id};
use storage::Clock;

use crate::{Limit, Limits, Toll, TooSoon, bucket};

fn alice() -> &'static UserId {
    user_id!("@alice:example.org")
}

fn bob() -> &'static UserId {
    user_id!("@bob:example.org")
}

fn house(config: &RateLimits) -> (Limits, Clock) {
    let clock = Clock::manual(1_700_000_000_000);
    (Limits::new(config, clock.clone()), clock)
}

fn wait(result: Result<(), TooSoon>) -> u64 {
    result.map_or_else(|refused| refused.retry_after.as_secs(), |()| 0)
}

/// Each limit with what it lets through at once and how long the next one waits then.
#[test]
fn e4_every_limit_has_its_default() {
    let table = [
        (Limit::Message, 10, 5),
        // Not set: as messages.
        (Limit::AdminRedaction, 10, 5),
        (Limit::Registration, 3, 6),
        (Limit::UsernameAvailability, 20, 1),
        (Limit::RegistrationTokenValidity, 5, 10),
        (Limit::LoginAddress, 5, 334),
        (Limit::LoginAccount, 5, 334),
        (Limit::LoginFailedAttempts, 3, 6),
        (Limit::JoinsLocal, 10, 10),
        (Limit::JoinsPerRoom, 10, 1),
        (Limit::InvitesPerRoom, 10, 4),
        (Limit::InvitesPerUser, 5, 334),
        (Limit::InvitesPerIssuer, 10, 4),
        (Limit::RoomCreation, 10, 63),
        (Limit::MediaCreate, 50, 1),
        (Limit::PresencePerUser, 1, 10),
        (Limit::KeyRequests, 100, 1),
        (Limit::ToDevice, 10_000, 1),
        (Limit::Reports, 5, 1),
        (Limit::UserDirectory, 200, 63),
    ];
    assert_eq!(table.map(|(limit, ..)| limit), Limit::ALL);
    for (limit, burst, retry_after) in table {
        let (limits, clock) = house(&RateLimits::default());
        let pay = |user_id: &UserId| wait(limits.user(user_id).own(limit).pay());
        for n in 0..burst {
            assert_eq!(pay(alice()), 0, "{limit:?} {n}");
        }
        assert_eq!(pay(alice()), retry_after, "{limit:?}");
        assert_eq!(pay(bob()), 0, "{limit:?}: others are not concerned");
        clock.advance_ms(retry_after * 1000 - 1000);
        if retry_after > 1 {
            assert_ne!(pay(alice()), 0, "{limit:?}: a second too early");
        }
        clock.advance_ms(1000);
        assert_eq!(pay(alice()), 0, "{limit:?}: in time");
        clock.advance_ms(retry_after * 1000 * burst);
        for n in 0..burst {
            assert_eq!(pay(alice()), 0, "{limit:?} {n}, after a pause");
        }
        assert_ne!(pay(alice()), 0, "{limit:?}: a pause does not add up");
    }
}

#[test]
fn who_waits_as_long_as_told_gets_through_whatever_the_rate() {
    for per_second in [0.000_001, 0.003, 0.17, 0.3, 1.0, 3.0, 7.7, 999.0, 1e6] {
        for burst_count in [1, 2, 3, 10] {
            let config = RateLimits {
                message: Rate {
                    per_second,
                    burst_count,
                },
                ..RateLimits::default()
            };
            let (limits, clock) = house(&config);
            // Many at once, too: more than the burst.
            for actions in [1, 1, 5, 1, 20, 1, 1, 1] {
                let mut toll = limits.user(alice()).times(Limit::Message, actions);
                if let Err(refused) = toll.pay() {
                    let ms = u64::try_from(refused.retry_after.as_millis()).unwrap();
                    assert_eq!(ms % 1000, 0);
                    clock.advance_ms(ms);
                    toll.pay().expect("after the wait");
                }
            }
        }
    }
}

#[test]
fn more_than_a_bucket_holds_leaves_a_debt() {
    let (limits, clock) = house(&RateLimits::default());
    let pay = |n| wait(limits.user(alice()).times(Limit::InvitesPerIssuer, n).pay());
    assert_eq!(pay(40), 0);
    // 30 are owed and one more is wanted, at 0.3 a second.
    assert_eq!(pay(1), 104);
    clock.advance_ms(104_000);
    assert_eq!(pay(1), 0);
}

#[test]
fn one_act_with_several_limits_is_charged_all_or_nothing() {
    let (limits, clock) = house(&RateLimits::default());
    let invite = |room: &str, target: &UserId| {
        let mut toll = limits
            .user(alice())
            .own(Limit::InvitesPerIssuer)
            .per(Limit::InvitesPerRoom, room)
            .per(Limit::InvitesPerUser, target.as_str());
        wait(toll.pay())
    };
    for n in 0..5 {
        assert_eq!(invite(&format!("!{n}"), bob()), 0);
    }
    for _ in 0..100 {
        assert_eq!(invite("!a", bob()), 334);
    }
    // The refused ones have cost nothing: five of ten are left of the issuer's, ten of the room's.
    for n in 0..5 {
        let target = UserId::parse(format!("@u{n}:example.org")).unwrap();
        assert_eq!(invite("!a", &target), 0);
    }
    assert_eq!(invite("!a", user_id!("@u:example.org")), 4);
    // Two limits are reached: the later one counts.
    assert_eq!(invite("!a", bob()), 334);
    clock.advance_ms(334_000);
    assert_eq!(invite("!a", bob()), 0);
}

#[test]
fn a_toll_is_paid_once_and_given_back_once() {
    let (limits, _) = house(&RateLimits::default());
    let mut toll = limits.user(alice()).own(Limit::LoginFailedAttempts);
    for _ in 0..10 {
        assert_eq!(toll.pay(), Ok(()));
    }
    for _ in 0..2 {
        assert_eq!(
            limits.user(alice()).own(Limit::LoginFailedAttempts).pay(),
            Ok(())
        );
    }
    let again = limits.user(alice()).own(Limit::LoginFailedAttempts);
    assert!(again.look().is_err());
    // Not paid: nothing comes back.
    again.refund();
    assert!(
        limits
            .user(alice())
            .own(Limit::LoginFailedAttempts)
            .look()
            .is_err()
    );
    toll.refund();
    for _ in 0..10 {
        assert_eq!(
            limits.user(alice()).own(Limit::LoginFailedAttempts).look(),
            Ok(())
        );
    }
    assert_eq!(
        limits.user(alice()).own(Limit::LoginFailedAttempts).pay(),
        Ok(())
    );
    assert!(
        limits
            .user(alice())
            .own(Limit::LoginFailedAttempts)
            .pay()
            .is_err()
    );
}

#[test]
fn administrators_choose() {
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let once = Rate {
        per_second: 1.0,
        burst_count: 1,
    };
    let config = RateLimits {
        exempt_users: vec![alice().to_owned()],
        exempt_addresses: vec!["192.0.2.0/24".parse().unwrap()],
        admin_redaction: Some(once),
        registration: once,
        ..RateLimits::default()
    };
    let off = RateLimits {
        enabled: false,
        ..config.clone()
    };
    let many =
        |toll: &dyn Fn() -> Result<(), TooSoon>| (0..100).find_map(|n| toll().err().map(|_| n));
    let (limits, _) = house(&config);
    let redact = |user_id| limits.user(user_id).own(Limit::AdminRedaction).pay();
    assert_eq!(many(&|| redact(alice())), None);
    assert_eq!(many(&|| redact(bob())), Some(1));
    let enter = || {
        limits
            .account(alice())
            .own(Limit::LoginFailedAttempts)
            .pay()
    };
    assert_eq!(many(&enter), Some(3), "no account is exempt");
    let register = |from| limits.address(from).own(Limit::Registration).pay();
    assert_eq!(many(&|| register(address("192.0.2.77"))), None);
    assert_eq!(many(&|| register(address("198.51.100.1"))), Some(1));
    assert_eq!(many(&|| register(address("2001:db8::1"))), Some(1));
    assert_eq!(many(&|| register(address("2001:db8::2"))), Some(0));
    assert_eq!(many(&|| register(None)), None);
    for limits in [house(&off).0, Limits::none()] {
        assert_eq!(many(&|| limits.user(bob()).own(Limit::Message).pay()), None);
    }
    assert_eq!(many(&|| Toll::free().own(Limit::Message).pay()), None);
}

#[test]
fn a_clock_that_jumps_back_locks_nobody_out() {
    // The system's clock is asked how long ago, never what time it is.
    let limits = Limits::new(&RateLimits::default(), Clock::system());
    for _ in 0..10 {
        limits.user(alice()).own(Limit::Message).pay().unwrap();
    }
    let refused = limits.user(alice()).own(Limit::Message).pay().unwrap_err();
    assert!(refused.retry_after <= Duration::from_secs(5));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let (limits, clock) = house(&RateLimits::default());
    let buckets = limits.inner.as_ref().unwrap().buckets(Limit::LoginAddress);
    let pay = |n: u128| {
        let address = IpAddr::from((0x2001_0db8 << 96 | n << 72_u128).to_be_bytes());
        limits.address(Some(address)).own(Limit::LoginAddress).pay()
    };
    // One who comes back again and again stays refused while others flood the table once each.
    while pay(0).is_ok() {}
    for n in 1..150_000 {
        assert_eq!(pay(n), Ok(()));
        assert!(n % 10_000 != 0 || buckets.rows() <= bucket::MAX_ROWS);
    }
    assert!(pay(0).is_err());
    // Whoever waits is forgotten as soon as others come.
    clock.advance_ms(3_600_000);
    for n in 400_000..450_000 {
        assert_eq!(pay(n), Ok(()));
    }
    clock.advance_ms(3_600_000);
    let before = buckets.rows();
    for n in 600_000..600_000 + before as u128 {
        assert_eq!(pay(n), Ok(()));
    }
    assert!(
        buckets.rows() <= before + before / 2,
        "{} {before}",
        buckets.rows()
    );
}

#[test]
fn c8_threads_that_pay_at_once_are_counted_exactly() {
    let (limits, _) = house(&RateLimits::default());
    let paid: usize = std::thread::scope(|scope| {
        let threads = (0..8).map(|_| {
            scope.spawn(|| {
                let pay = || limits.user(alice()).own(Limit::Message).pay();
                (0..1000).filter(|_| pay().is_ok()).count()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(paid, 10);
}

/// On the path of every message, so it must be next to nothing: 2 µs would be too much.
#[test]
fn a_toll_costs_little() {
    let often = Rate {
        per_second: 1e6,
        burst_count: 1_000_000,
    };
    let config = RateLimits {
        message: often,
        ..RateLimits::default()
    };
    let limits = Limits::new(&config, Clock::system());
    let users: Vec<_> = (0..1000)
        .map(|n| UserId::parse(format!("@user{n}:example.org")).unwrap())
        .collect();
    // The quickest round counts: the machine may be busy.
    let quickest = (0..50).map(|_| {
        let began = Instant::now();
        for user_id in &users {
            limits.user(user_id).own(Limit::Message).pay().unwrap();
        }
        began.elapsed() / 1000
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_micros(2), "{quickest:?}");
    println!("{quickest:?}");
}
