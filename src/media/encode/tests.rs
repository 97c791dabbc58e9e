use super::*;
use crate::media::{events, init};

#[test]
fn a_failing_encoder_is_an_event_with_its_element_and_reason() {
    let (sender, mut receiver) = events();
    let encode = Encode::start(&stream(), sender, |_| ()).unwrap();
    assert!(receiver.try_recv().is_err(), "all is well");

    fail(&encode.in_use().element());
    let MediaEvent::EncoderFailed { element, reason, .. } = receiver.try_recv().unwrap() else {
        panic!("another event");
    };
    assert!(element.starts_with("x264enc"), "{element}");
    assert_eq!(reason, "Can not encode");
}

fn fail(element: &gst::Element) {
    let message = gst::message::Error::builder(gst::LibraryError::Encode, "Can not encode.").src(element);
    element.post_message(message.build()).unwrap();
}

fn stream() -> config::Stream {
    init().unwrap();
    let document = "[streams.main.video]\nsource = 'test'\nwidth = 64\nheight = 64\n\
                    [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
    config::parse(document).unwrap().streams.into_values().next().unwrap()
}
