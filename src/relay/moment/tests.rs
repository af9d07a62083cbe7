use super::*;

fn at(now: u64) -> Circumstances {
    Circumstances {
        now: Micros(now),
        round_trip: 200,
        boundaries: true,
        waited: 0,
        last_chance: false,
    }
}

fn request_reply(gap: u64, answer: u64, rounds: u64) -> Traffic {
    let mut traffic = Traffic::default();
    for round in 1..=rounds {
        traffic.note(Direction::ToUpstream, Micros(round * gap), 1);
        traffic.note(Direction::ToClient, Micros(round * gap + answer), 1);
    }
    traffic
}

#[test]
fn a_silent_session_goes_at_once() {
    let traffic = Traffic::begun(Micros(5_000_000));
    let now = at(5_000_001 + FIRST_QUESTION);
    assert_eq!(decide(&traffic, now), Some(First::Client));
}

#[test]
fn who_has_just_come_is_heard_first() {
    let began = 5_000_000;
    let mut traffic = Traffic::begun(Micros(began));
    for later in [0, 10_000, 500_000, FIRST_QUESTION] {
        assert_eq!(decide(&traffic, at(began + later)), None, "{later} later");
    }
    let mut c = at(began);
    c.last_chance = true;
    assert_eq!(decide(&traffic, c), Some(First::Client));
    let asked = began + 700_000;
    traffic.note(Direction::ToUpstream, Micros(asked), 1);
    assert_eq!(decide(&traffic, at(asked)), None, "it is to be answered");
    traffic.note(Direction::ToClient, Micros(asked + 500), 1);
    assert_eq!(decide(&traffic, at(asked + 500)), Some(First::Client));
}

#[test]
fn who_has_just_come_and_been_greeted_is_heard_first() {
    let began = 5_000_000;
    let mut traffic = Traffic::begun(Micros(began));
    traffic.note(Direction::ToClient, Micros(began + 500), 1);
    for later in [1_000, 500_000, FIRST_QUESTION] {
        assert_eq!(decide(&traffic, at(began + later)), None, "{later} later");
    }
    let late = at(began + FIRST_QUESTION + 1);
    assert_eq!(decide(&traffic, late), Some(First::Agent), "it listens");
}

#[test]
fn request_and_reply_goes_right_behind_the_answer() {
    let traffic = request_reply(20_000, 500, 50);
    assert_eq!(decide(&traffic, at(50 * 20_000 + 500)), Some(First::Client));
}

#[test]
fn request_and_reply_does_not_go_while_the_client_thinks() {
    // Uneven, as thoughts are, and further away than the kernel sees.
    let mut traffic = Traffic::default();
    let mut now = 0;
    for round in 0..50 {
        now += 110_000 + round * 7 % 10 * 50_000;
        traffic.note(Direction::ToUpstream, Micros(now), 1);
        traffic.note(Direction::ToClient, Micros(now + 500), 1);
    }
    for later in (1_000..560_000).step_by(5_000) {
        let mut c = at(now + later);
        c.waited = later.min(500_000);
        assert_eq!(decide(&traffic, c), None, "{later} later");
    }
    assert_eq!(decide(&traffic, at(now + 500)), Some(First::Client));
    let given_up = now + 5_000_000;
    assert_eq!(decide(&traffic, at(given_up)), Some(First::Client));
}

#[test]
fn who_has_asked_once_may_be_about_to_ask_again() {
    let traffic = request_reply(1_000_000, 500, 1);
    let answered = 1_000_500;
    assert_eq!(decide(&traffic, at(answered)), Some(First::Client));
    for later in [600_000, 1_500_000, 3_500_000] {
        assert_eq!(
            decide(&traffic, at(answered + later)),
            None,
            "{later} later"
        );
    }
    let mut c = at(answered + 2_500_000);
    c.waited = PATIENCE;
    assert_eq!(decide(&traffic, c), Some(First::Client), "or not");
    let late = at(answered + SECOND_QUESTION);
    assert_eq!(decide(&traffic, late), Some(First::Client), "it is done");
}

#[test]
fn a_slow_thinker_is_waited_for_until_it_has_asked_again() {
    // A thought of one to two and a half seconds.
    let (mut traffic, mut now) = (Traffic::default(), 0);
    for round in 0..20 {
        now += 1_000_000 + round * 7 % 10 * 150_000;
        traffic.note(Direction::ToUpstream, Micros(now), 1);
        traffic.note(Direction::ToClient, Micros(now + 500), 1);
    }
    for later in (1_000_000..2_500_000).step_by(50_000) {
        let mut c = at(now + 500 + later);
        c.waited = later;
        assert_eq!(decide(&traffic, c), None, "{later} later");
    }
    let mut c = at(now + 500 + 2_400_000);
    c.waited = LONG_PATIENCE;
    assert_eq!(decide(&traffic, c), Some(First::Client), "not for ever");
}

#[test]
fn request_and_reply_does_not_go_while_an_answer_is_due() {
    let mut traffic = request_reply(20_000, 500, 50);
    traffic.note(Direction::ToUpstream, Micros(51 * 20_000), 1);
    assert_eq!(decide(&traffic, at(51 * 20_000 + 400)), None);
}

#[test]
fn request_and_reply_does_not_go_when_the_next_request_is_near() {
    let traffic = request_reply(20_000, 500, 50);
    assert_eq!(decide(&traffic, at(50 * 20_000 + 18_000)), None);
}

#[test]
fn a_pusher_with_a_silent_client_is_told_first() {
    let mut traffic = Traffic::default();
    for beat in 1..150 {
        traffic.note(Direction::ToClient, Micros(beat * 20_000), 1);
    }
    assert_eq!(
        decide(&traffic, at(149 * 20_000 + 19_900)),
        Some(First::Agent)
    );
}

#[test]
fn chatter_goes_behind_the_beat_of_who_is_told_last() {
    let mut traffic = Traffic::default();
    for beat in 1..50 {
        traffic.note(Direction::ToClient, Micros(beat * 20_000), 1);
        traffic.note(Direction::ToClient, Micros(beat * 20_000 + 6_000), 1);
        traffic.note(Direction::ToUpstream, Micros(beat * 20_000 + 10_000), 1);
    }
    let last = 49 * 20_000 + 10_000;
    assert_eq!(decide(&traffic, at(last)), Some(First::Agent));
    assert_eq!(decide(&traffic, at(last + 17_000)), None);
}

#[test]
fn who_speaks_less_often_is_told_last() {
    for (client, agent, first) in [
        (20_000, 500_000, First::Client),
        (500_000, 20_000, First::Agent),
        (90_000, 60_000, First::Agent),
        (60_000, 90_000, First::Client),
    ] {
        let mut traffic = Traffic::default();
        let last = client.max(agent) * 20;
        for now in (0..=last).step_by(10_000) {
            if now % client == 0 {
                traffic.note(Direction::ToUpstream, Micros(now), 1);
            }
            if now % agent == 0 {
                traffic.note(Direction::ToClient, Micros(now), 1);
            }
        }
        assert_eq!(
            decide(&traffic, at(last)),
            Some(first),
            "{client} and {agent}"
        );
    }
}

#[test]
fn a_rare_client_before_a_pusher_is_told_behind_its_own_words() {
    let mut traffic = Traffic::default();
    for beat in 1..200 {
        traffic.note(Direction::ToClient, Micros(beat * 50_000), 1);
        if beat % 60 == 0 {
            traffic.note(Direction::ToUpstream, Micros(beat * 50_000), 1);
        }
    }
    let last = 180 * 50_000;
    assert_eq!(decide(&traffic, at(last)), Some(First::Agent));
    let soon = decide(&traffic, at(last + 100_000));
    assert_eq!(soon, None, "two gaps are no rhythm yet");
    assert_eq!(decide(&traffic, at(last + 2_950_000)), None);
    let mut c = at(last + 100_000);
    c.waited = SHORT_PATIENCE * 3 / 4;
    assert_eq!(decide(&traffic, c), Some(First::Agent));
}

#[test]
fn an_answer_that_is_due_is_waited_for_until_the_last_chance() {
    let mut traffic = request_reply(3_000, 2_500, 50);
    traffic.note(Direction::ToUpstream, Micros(51 * 3_000), 1);
    let mut c = at(51 * 3_000 + 100);
    c.waited = PATIENCE;
    assert_eq!(decide(&traffic, c), None);
    c.last_chance = true;
    assert_eq!(decide(&traffic, c), Some(First::Client));
}

#[test]
fn the_first_request_is_waited_for_as_any_other() {
    let mut traffic = Traffic::default();
    traffic.note(Direction::ToUpstream, Micros(1_000), 1);
    assert_eq!(decide(&traffic, at(900_000)), None);
}

#[test]
fn a_streamed_answer_is_heard_to_its_end() {
    let (mut traffic, mut now) = (Traffic::default(), 0);
    for _ in 0..4 {
        now += 3_000_000;
        traffic.note(Direction::ToUpstream, Micros(now), 1);
        now += 500_000;
        for _ in 0..200 {
            now += 40_000;
            traffic.note(Direction::ToClient, Micros(now), 1);
            let mut c = at(now);
            c.waited = 2 * PATIENCE;
            if traffic.agent_streams_answers() {
                assert_eq!(decide(&traffic, c), None, "within an answer");
                c.now = Micros(now + 30_000);
                assert_eq!(decide(&traffic, c), None, "between two words");
            }
        }
    }
    assert_eq!(decide(&traffic, at(now + 170_000)), Some(First::Client));
    assert_eq!(decide(&traffic, at(now + 2_900_000)), None, "a thought");
    traffic.note(Direction::ToUpstream, Micros(now + 3_000_000), 1);
    assert_eq!(decide(&traffic, at(now + 3_400_000)), None, "one is due");
    // One that does not end is none.
    now += 3_000_000;
    for _ in 0..2_000 {
        now += 40_000;
        traffic.note(Direction::ToClient, Micros(now), 1);
    }
    let mut c = at(now + 1_000);
    c.waited = PATIENCE;
    assert_eq!(decide(&traffic, c), Some(First::Agent));
}

#[test]
fn bytes_without_boundaries_wait_for_silence() {
    let traffic = request_reply(50_000, 500, 50);
    let mut c = at(50 * 50_000 + 600);
    c.boundaries = false;
    assert_eq!(decide(&traffic, c), None);
    c.now = Micros(50 * 50_000 + 6_000);
    assert_eq!(
        decide(&traffic, c),
        Some(First::Client),
        "behind the answer"
    );
    c.now = Micros(50 * 50_000 + 25_000);
    assert_eq!(decide(&traffic, c), None, "the client may be far away");
    c.waited = PATIENCE;
    assert_eq!(decide(&traffic, c), Some(First::Client));
}

#[test]
fn a_transfer_is_not_interrupted_between_two_of_its_parts() {
    let mut traffic = Traffic::default();
    for part in 1..500 {
        traffic.note(Direction::ToClient, Micros(part * 10_000), 1);
    }
    let last = 499 * 10_000;
    let mut c = at(last + 9_000);
    c.boundaries = false;
    c.waited = 2 * PATIENCE;
    assert_eq!(decide(&traffic, c), None);
    c.now = Micros(last + 36_000);
    assert_eq!(decide(&traffic, c), Some(First::Agent), "it is over");
}
