//! Slices of a run, opened one by one, and streams of other kinds than `file`.

mod support;

use offsite_cms::{Error, Message, Recipients, Sealer, SliceOpener, SliceProblem, StreamKind, encrypt};

use support::{OddReader, THREADS, certificate, ignore, private_key, sample};

const KEY: &str = "p256.pem";
const RUN: StreamKind<'static> = StreamKind::Slices("web-1/default/20261123T074500Z-7f3a9c01");

fn recipients() -> Recipients {
    Recipients::new(vec![certificate(KEY)]).expect("one recipient")
}

/// Slices of a run with the lengths given; the last with the last flag.
fn run(lengths: &[usize]) -> Vec<Vec<u8>> {
    let sealer = Sealer::new(&recipients(), RUN).expect("a sealer");
    let mut buffer = sealer.buffer(10_000);
    let seal = |(index, length): (usize, &usize)| {
        buffer.plaintext_mut()[..*length].copy_from_slice(&sample(*length));
        let number = sealer.next_number().expect("a number");
        sealer.seal(number, index + 1 == lengths.len(), &mut buffer, *length).expect("a slice");
        buffer.slice().to_vec()
    };
    lengths.iter().enumerate().map(seal).collect()
}

#[test]
fn slices_open_in_any_order_and_without_the_others() {
    let lengths = [10_000, 1, 5_000, 9_999];
    let slices = run(&lengths);
    let opener = SliceOpener::new(&slices[2], &private_key(KEY), RUN).expect("an opener");
    for number in [3_usize, 0, 2, 1, 3] {
        let mut slice = slices[number].clone();
        let plaintext = opener.open(u32::try_from(number).expect("small"), &mut slice).expect("a sound slice");
        assert_eq!(plaintext, sample(lengths[number]));
    }
}

#[test]
fn a_slice_of_another_place_is_refused() {
    let slices = run(&[100, 200, 300]);
    let other_run = run(&[100, 200, 300]);
    let opener = SliceOpener::new(&slices[0], &private_key(KEY), RUN).expect("an opener");
    let open = |number, slice: &[u8]| opener.open(number, &mut slice.to_vec()).map(<[u8]>::to_vec);
    assert_eq!(open(0, &slices[1]), Err(SliceProblem::OutOfOrder { found: 1 }));
    assert_eq!(open(1, &other_run[1]), Err(SliceProblem::OtherRecipients));
    assert_eq!(open(1, &slices[1][..slices[1].len() - 1]), Err(SliceProblem::CutOff));
    assert_eq!(open(1, &[&slices[1][..], b"x"].concat()), Err(SliceProblem::Size { found: 497, expected: 498 }));
    assert_eq!(open(1, b"junk"), Err(SliceProblem::NotASlice));
    let mut flipped = slices[1].clone();
    let middle = flipped.len() - 100;
    flipped[middle] ^= 1;
    assert_eq!(open(1, &flipped), Err(SliceProblem::Altered));
}

#[test]
fn in_a_stream_it_matters_which_slice_is_the_last() {
    let slices = run(&[100, 100, 30]);
    let opener = SliceOpener::new(&slices[0], &private_key(KEY), RUN).expect("an opener");
    let open = |number: usize, last| {
        let mut slice = slices[number].clone();
        let plaintext = opener.open_in_stream(u32::try_from(number).expect("small"), last, &mut slice)?;
        Ok(slice[plaintext].to_vec())
    };
    assert_eq!(open(0, false), Ok(sample(100)));
    assert_eq!(open(2, true), Ok(sample(30)));
    assert_eq!(open(1, true), Err(SliceProblem::NotLast));
    assert_eq!(open(2, false), Err(SliceProblem::GoesOn));
}

#[test]
fn a_slice_of_another_context_is_refused() {
    let slices = run(&[100]);
    let contexts = [
        StreamKind::Slices("web-2/default/20261123T074500Z-7f3a9c01"),
        StreamKind::Slices(""),
        StreamKind::Index("web-1/default/20261123T074500Z-7f3a9c01"),
        StreamKind::File,
    ];
    for context in contexts {
        match SliceOpener::new(&slices[0], &private_key(KEY), context) {
            Err(Error::OtherStream) => {}
            other => panic!("{context:?}: {:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn a_stream_is_read_as_its_own_kind_only() {
    let plaintext = sample(10_000);
    let plan = StreamKind::Plan("web-1/default/20261123T074500Z-7f3a9c01");
    let mut message = Vec::new();
    let emit = |slice: &[u8]| {
        message.extend_from_slice(slice);
        Ok(())
    };
    encrypt(OddReader::input(&plaintext, &[4096]), &recipients(), plan, 2048, THREADS, emit, &ignore)
        .expect("a stream");
    let key = private_key(KEY);
    let open = |kind| Message::open_stream(OddReader::input(&message, &[1000]), &key, kind);
    let mut out = Vec::new();
    let no_spool = || Err(std::io::ErrorKind::Unsupported.into());
    let totals = open(plan).expect("its kind").decrypt(&mut out, &no_spool, THREADS, &ignore).expect("sound");
    assert_eq!((out, totals.slices), (plaintext, 6));
    for other in [StreamKind::Index("web-1/default/20261123T074500Z-7f3a9c01"), StreamKind::Plan("x"), StreamKind::File]
    {
        match open(other) {
            Err(Error::OtherStream) => {}
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}
