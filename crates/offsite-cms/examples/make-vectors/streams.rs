//! Long streams that are not what the writer wrote.

use crate::armour;
use crate::forge::{CONTENT, ENVELOPE, INFOS, NONCE, Recipient, Stream, foreign};
use crate::keys::{EC, EC_STRANGER};
use crate::native;
use crate::support::der::{Element, integer, tagged};
use crate::support::sample;
use crate::vector::Vector;

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = disordered();
    vectors.extend(mixed());
    vectors.extend(singles());
    vectors.extend(altered());
    vectors.extend(forged());
    vectors.extend(encodings());
    vectors
}

/// A row of slices: what it must end in, with which words, and how many slices are released.
type Row<'a> = (&'static str, Vec<&'a [u8]>, &'static str, &'static str, usize);

/// A stream of three slices, to be made into rows of slices that are fine in themselves.
struct Stock {
    plaintext: Vec<u8>,
    /// How much of it each slice holds.
    part: usize,
    slices: Vec<Vec<u8>>,
}

impl Stock {
    fn new() -> Self {
        let part = native::plaintext_length(EC);
        let plaintext = sample(2 * part + 100);
        let slices = native::slices(EC, &plaintext);
        Self { plaintext, part, slices }
    }

    fn slices(&self) -> [&[u8]; 3] {
        [&self.slices[0], &self.slices[1], &self.slices[2]]
    }

    fn vectors(&self, rows: Vec<Row<'_>>) -> Vec<Vector> {
        let vector = |(name, row, expect, contains, released): Row<'_>| {
            let vector = Vector::fails(format!("stream-{name}"), EC, row.concat(), expect, contains);
            vector.after(&self.plaintext[..released * self.part])
        };
        rows.into_iter().map(vector).collect()
    }
}

/// Slices swapped, repeated, dropped and cut off.
fn disordered() -> Vec<Vector> {
    let stock = Stock::new();
    let [a, b, c] = stock.slices();
    let header = a.len() - stock.part - 18;
    stock.vectors(vec![
        ("swapped-first", vec![b, a, c], "slice/out-of-order", "slice 0 (from byte 0): it is number 1", 0),
        ("swapped-last", vec![a, c, b], "slice/out-of-order", "slice 1 (from byte 2048): it is number 2", 1),
        ("repeated-first", vec![a, a, b, c], "slice/out-of-order", "slice 1 (from byte 2048): it is number 0", 1),
        ("repeated-middle", vec![a, b, b, c], "slice/out-of-order", "slice 2 (from byte 4096): it is number 1", 2),
        ("repeated-last", vec![a, b, c, c], "slice/goes-on", "slice 2 (from byte 4096): it is the last", 2),
        ("dropped-first", vec![b, c], "slice/out-of-order", "slice 0 (from byte 0): it is number 1", 0),
        ("dropped-middle", vec![a, c], "slice/out-of-order", "slice 1 (from byte 2048): it is number 2", 1),
        ("dropped-last", vec![a, b], "slice/not-last", "slice 1 (from byte 2048): the input ends after it", 1),
        ("first-alone", vec![a], "slice/not-last", "slice 0 (from byte 0): the input ends after it", 0),
        ("middle-alone", vec![b], "slice/out-of-order", "slice 0 (from byte 0): it is number 1", 0),
        ("last-alone", vec![c], "slice/out-of-order", "slice 0 (from byte 0): it is number 2", 0),
        (
            "cut-in-last",
            vec![a, b, &c[..c.len() - 1]],
            "slice/cut-off",
            "slice 2 (from byte 4096): the input ends within it",
            2,
        ),
        (
            "cut-in-last-header",
            vec![a, b, &c[..100]],
            "slice/cut-off",
            "slice 2 (from byte 4096): the input ends within it",
            2,
        ),
        (
            "cut-in-middle",
            vec![a, &b[..1000]],
            "slice/cut-off",
            "slice 1 (from byte 2048): the input ends within it",
            1,
        ),
        ("cut-in-first", vec![&a[..1000]], "slice/cut-off", "slice 0 (from byte 0): the input ends within it", 0),
        (
            "cut-before-first-content",
            vec![&a[..header]],
            "slice/cut-off",
            "slice 0 (from byte 0): the input ends within it",
            0,
        ),
        ("cut-in-first-header", vec![&a[..100]], "truncated", "the input ends at byte 100", 0),
    ])
}

/// Slices with something else before, between and after them.
fn mixed() -> Vec<Vector> {
    let stock = Stock::new();
    let [a, b, c] = stock.slices();
    let full = native::slices(EC, &sample(2 * stock.part));
    let other = native::slices(EC, &stock.plaintext);
    let single = native::stream(EC, b"a whole other message");
    let foreign = foreign(|cek| vec![Recipient::of(EC).ecdh_info(cek)], b"a foreign message").encode();
    let dropped_in_pem = armour::pem("CMS", &[a, c].concat());
    stock.vectors(vec![
        (
            "cut-after-a-byte-of-last",
            vec![a, b, &c[..1]],
            "slice/cut-off",
            "slice 2 (from byte 4096): the input ends within it",
            2,
        ),
        ("junk-after", vec![a, b, c, b"junk"], "slice/goes-on", "slice 2 (from byte 4096): it is the last", 2),
        ("zeros-after", vec![a, b, c, &[0; 2]], "slice/goes-on", "slice 2 (from byte 4096): it is the last", 2),
        (
            "junk-after-full-last",
            vec![&full[0], &full[1], b"junk"],
            "slice/goes-on",
            "slice 1 (from byte 2048): it is the last",
            1,
        ),
        ("message-after", vec![a, b, c, &single], "slice/goes-on", "slice 2 (from byte 4096): it is the last", 2),
        (
            "foreign-message-after",
            vec![a, b, c, &foreign],
            "slice/goes-on",
            "slice 2 (from byte 4096): it is the last",
            2,
        ),
        ("stream-after", vec![a, b, c, a, b, c], "slice/goes-on", "slice 2 (from byte 4096): it is the last", 2),
        ("junk-between", vec![a, b"junk", b, c], "slice/not-a-slice", "slice 1 (from byte 2048)", 1),
        ("foreign-between", vec![a, &foreign, b, c], "slice/other-recipients", "slice 1 (from byte 2048)", 1),
        ("slice-of-another-stream", vec![a, &other[1], c], "slice/other-recipients", "slice 1 (from byte 2048)", 1),
        ("last-of-another-stream", vec![a, b, &other[2]], "slice/other-recipients", "slice 2 (from byte 4096)", 2),
        ("first-of-another-stream", vec![&other[0], b, c], "slice/other-recipients", "slice 1 (from byte 2048)", 1),
        ("dropped-in-pem", vec![&dropped_in_pem], "slice/out-of-order", "slice 1 (from byte 2048)", 1),
    ])
}

/// Single messages with something after them, or for somebody else.
fn singles() -> Vec<Vector> {
    let plaintext = sample(100);
    let single = native::stream(EC, &plaintext);
    let followed = |by: &[u8]| [&single[..], by].concat();
    let goes_on = "slice 0 (from byte 0): it is the last";
    vec![
        Vector::fails("native-junk-after", EC, followed(b"x"), "slice/goes-on", goes_on),
        Vector::fails("native-message-after", EC, followed(&single), "slice/goes-on", goes_on),
        Vector::fails("native-wrong-key", EC_STRANGER, single.clone(), "not-for-this-key", "CN=p256"),
    ]
}

/// Slices that somebody without the key changed.
fn altered() -> Vec<Vector> {
    let part = native::plaintext_length(EC);
    let plaintext = sample(2 * part + 100);
    let slices: Vec<Element> = native::slices(EC, &plaintext).iter().map(|slice| Element::parse(slice)).collect();
    let with = |number: usize, edit: &dyn Fn(&mut Element)| {
        let mut slices = slices.clone();
        edit(&mut slices[number]);
        slices.iter().map(Element::encode).collect::<Vec<_>>().concat()
    };
    let stranger = Recipient::of(EC_STRANGER).ecdh_info(&[0; 32]);
    let vector = |name: &str, message, expect, contains, released: usize| {
        Vector::fails(format!("stream-{name}"), EC, message, expect, contains).after(&plaintext[..released * part])
    };
    let flag = |value: u8| move |slice: &mut Element| *slice.at(NONCE).contents().last_mut().expect("a nonce") = value;
    let number = |value: u8| move |slice: &mut Element| slice.at(NONCE).contents()[10] = value;
    let add = |slice: &mut Element| slice.at(INFOS).children().push(stranger.clone());
    let shorten = |slice: &mut Element| slice.at(CONTENT).drop_byte();
    let lengthen = |slice: &mut Element| slice.at(CONTENT).contents().push(0);
    let empty = |slice: &mut Element| slice.at(CONTENT).contents().clear();
    let attributes = |slice: &mut Element| slice.at(ENVELOPE).children().push(tagged(2, vec![integer(0)]));
    vec![
        vector("last-flag-set-on-first", with(0, &flag(1)), "slice/goes-on", "slice 0 (from byte 0)", 0),
        vector("last-flag-set-on-middle", with(1, &flag(1)), "slice/goes-on", "slice 1 (from byte 2048)", 1),
        vector("last-flag-cleared", with(2, &flag(0)), "slice/not-last", "slice 2 (from byte 4096)", 2),
        vector("last-flag-2", with(2, &flag(2)), "slice/not-a-slice", "slice 2 (from byte 4096)", 2),
        vector("number-changed", with(1, &number(2)), "slice/out-of-order", "it is number 2", 1),
        vector("recipient-added", with(1, &add), "slice/other-recipients", "slice 1 (from byte 2048)", 1),
        vector("recipient-added-to-first", with(0, &add), "slice/other-recipients", "slice 1", 0)
            .after(&plaintext[..part])
            .comment("RecipientInfos are not authenticated: the first slice opens, the others differ from it"),
        vector("content-shortened", with(1, &shorten), "slice/size", "slice 1 (from byte 2048): it is 2047 bytes", 1),
        vector("content-lengthened", with(1, &lengthen), "slice/size", "slice 1 (from byte 2048): it is 2049 bytes", 1),
        vector("last-content-shortened", with(2, &shorten), "slice/altered", "slice 2 (from byte 4096)", 2),
        vector("last-content-emptied", with(2, &empty), "slice/empty", "slice 2 (from byte 4096)", 2),
        vector("attributes-in-middle", with(1, &attributes), "slice/not-a-slice", "slice 1 (from byte 2048)", 1),
    ]
}

/// What a writer with the key could make, but must not.
fn forged() -> Vec<Vector> {
    let stream = Stream::new(&Recipient::of(EC), "file", "");
    let other_kind = stream.as_kind("index", "host/set/backup");
    let plaintext = sample(1000);
    let slice = |number, last, part: &[u8]| stream.slice(number, last, part).encode();
    let row = |slices: &[(u32, u8, usize)]| -> Vec<u8> {
        let sealed = |(number, last, length): &(u32, u8, usize)| slice(*number, *last, &plaintext[..*length]);
        slices.iter().map(sealed).collect::<Vec<_>>().concat()
    };
    // Every slice of these streams holds the same bytes, from the start of `plaintext`.
    let vector = |name: &str, slices: &[(u32, u8, usize)], expect, contains, released: usize| {
        Vector::fails(format!("forged-{name}"), EC, row(slices), expect, contains)
            .after(&plaintext[..500].repeat(released))
            .comment("sealed with the right key")
    };
    let mixed = [slice(0, 0, &plaintext[..500]), other_kind.slice(1, 1, &plaintext[..500]).encode()].concat();
    vec![
        vector("empty-last-slice", &[(0, 0, 500), (1, 0, 500), (2, 1, 0)], "slice/empty", "slice 2", 2),
        vector("empty-slices", &[(0, 0, 0), (1, 1, 0)], "slice/empty", "slice 1", 0),
        vector("last-flag-in-middle", &[(0, 0, 500), (1, 1, 500), (2, 1, 500)], "slice/goes-on", "slice 1", 1),
        vector("last-flag-missing", &[(0, 0, 500), (1, 0, 500)], "slice/not-last", "slice 1", 1),
        vector("last-flag-2", &[(0, 0, 500), (1, 2, 500)], "slice/not-a-slice", "slice 1", 1),
        vector("last-flag-255-alone", &[(0, 255, 500)], "slice/not-a-slice", "slice 0", 0),
        vector("shorter-middle", &[(0, 0, 500), (1, 0, 499), (2, 1, 500)], "slice/size", "slice 1", 1),
        vector("longer-middle", &[(0, 0, 500), (1, 0, 501), (2, 1, 500)], "slice/size", "slice 1", 1),
        vector("longer-last", &[(0, 0, 500), (1, 1, 501)], "slice/size", "slice 1", 1),
        vector("much-longer-last", &[(0, 0, 500), (1, 1, 1000)], "slice/size", "slice 1", 1),
        vector("begins-with-1", &[(1, 0, 500), (2, 1, 500)], "slice/out-of-order", "slice 0 (from byte 0)", 0),
        vector("a-number-left-out", &[(0, 0, 500), (2, 1, 500)], "slice/out-of-order", "it is number 2", 1),
        vector("a-number-twice", &[(0, 0, 500), (0, 1, 500)], "slice/out-of-order", "it is number 0", 1),
        vector("number-of-2-to-24", &[(0, 0, 500), (1 << 24, 1, 500)], "slice/out-of-order", "16777216", 1),
        Vector::fails("forged-slice-of-another-kind", EC, mixed, "slice/other-stream", "slice 1")
            .after(&plaintext[..500])
            .comment("the same content-encryption key and RecipientInfos, another kind of stream"),
    ]
}

/// Other encodings of a native stream, and streams of other kinds.
fn encodings() -> Vec<Vector> {
    let part = native::plaintext_length(EC);
    let plaintext = sample(2 * part + 100);
    let slices: Vec<Element> = native::slices(EC, &plaintext).iter().map(|slice| Element::parse(slice)).collect();
    let indefinite = |slices: &[Element]| slices.iter().map(Element::encode_indefinite).collect::<Vec<_>>().concat();
    let in_pieces: Vec<Element> = slices.iter().cloned().map(content_in_pieces).collect();
    let single = Element::parse(&native::stream(EC, &sample(100)));
    let refused = |name: &str, message| {
        Vector::fails(format!("native-{name}"), EC, message, "slice/not-a-slice", "slice 0 (from byte 0)")
            .comment("a native stream is DER; read as one foreign message, its first slice would pass for the whole")
    };
    let sealer = native::backup_sealer(EC);
    let backup: Vec<Vec<u8>> = [false, true].map(|last| native::backup_slice(&sealer, last, &plaintext[..500])).into();
    let of_a_backup = |name, message, comment: &str| Vector::ok(name, EC, message, &plaintext[..500]).comment(comment);
    vec![
        refused("stream-indefinite", indefinite(&slices)),
        refused("stream-first-slice-indefinite", indefinite(&slices[..1])),
        refused("stream-in-pieces", indefinite(&in_pieces)),
        refused("stream-first-slice-in-pieces", indefinite(&in_pieces[..1])),
        refused("single-indefinite", single.encode_indefinite()),
        refused("single-in-pieces", content_in_pieces(single.clone()).encode_indefinite()),
        refused("single-in-pieces-definite", content_in_pieces(single).encode()),
        of_a_backup("backup-slice-first", backup[0].clone(), "a slice of a backup is one foreign message to `decrypt`"),
        of_a_backup("backup-slice-last", backup[1].clone(), "a slice of a backup is one foreign message to `decrypt`"),
        Vector::fails("backup-slices", EC, backup.concat(), "trailing", "several messages in one file"),
    ]
}

/// The content as a row of OCTET STRINGs.
fn content_in_pieces(mut slice: Element) -> Element {
    let content = slice.at(CONTENT);
    let pieces = content.contents().chunks(64).map(crate::support::der::octets).collect();
    *content = tagged(0, pieces);
    slice
}
