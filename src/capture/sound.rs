//! Sound inputs, as ALSA lists them, by names that do not depend on the order in which cards were found.

use std::fs;
use std::io;

use crate::config::AudioDevice;

/// A sound input as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundInput {
    /// `audio.device`: an ALSA name with the card's own name, such as `hw:CARD=Device,DEV=0`.
    pub device: String,
    /// The card, and which of its inputs.
    pub name: String,
}

/// All sound inputs; none where the kernel has no ALSA.
pub fn sound_inputs() -> Vec<SoundInput> {
    let read = |path| match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            log::warn!(path, error:%; "sound inputs cannot be listed");
            String::new()
        }
    };
    inputs(&read("/proc/asound/cards"), &read("/proc/asound/pcm"))
}

/// The name under which ALSA opens what the configuration means: for `auto` the first input that there
/// is, and where there is none, what ALSA itself calls its default, so that its own message says why
/// nothing is heard.
pub fn sound_device(device: &AudioDevice) -> String {
    match device {
        AudioDevice::Named(name) => name.clone(),
        AudioDevice::Auto => {
            let first = sound_inputs().into_iter().next();
            first.map_or_else(|| "default".to_owned(), |input| format!("plug{}", input.device))
        }
    }
}

/// Of ` 0 [Device         ]: USB-Audio - USB Audio Device` a card's number, name and description; of
/// `00-01: USB Audio : USB Audio : playback 1 : capture 1` the card's and the device's number.
fn inputs(cards: &str, pcm: &str) -> Vec<SoundInput> {
    let card = |line: &str| {
        let (number, rest) = line.split_once('[')?;
        let (id, description) = rest.split_once("]:")?;
        let description = description.split_once(" - ").map_or(description, |(_, after)| after);
        Some((number.trim().parse::<u32>().ok()?, id.trim().to_owned(), description.trim().to_owned()))
    };
    let cards: Vec<_> = cards.lines().filter_map(card).collect();
    let input = |line: &str| {
        let mut fields = line.split(':').map(str::trim);
        let (card, device) = fields.next()?.split_once('-')?;
        let name = fields.next()?;
        fields.find(|field| field.starts_with("capture"))?;
        let (card, device): (u32, u32) = (card.parse().ok()?, device.parse().ok()?);
        let (_, id, description) = cards.iter().find(|(number, ..)| *number == card)?;
        let device = format!("hw:CARD={id},DEV={device}");
        Some(SoundInput { device, name: format!("{description}: {name}") })
    };
    pcm.lines().filter_map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_named_by_their_cards() {
        let cards = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      \
                     HDA Intel PCH at 0xf7d10000 irq 30\n \
                     2 [Device         ]: USB-Audio - USB Audio Device\n                      \
                     C-Media at usb-0000:00:14.0-2, full speed\n";
        let pcm = "00-00: ALC269 Analog : ALC269 Analog : playback 1 : capture 1\n\
                   00-03: HDMI 0 : HDMI 0 : playback 1\n\
                   02-00: USB Audio : USB Audio : playback 1 : capture 1\n\
                   07-00: nobody : knows : capture 1\nnonsense\n";
        let found = inputs(cards, pcm);
        let found: Vec<_> = found.iter().map(|input| (input.device.as_str(), input.name.as_str())).collect();
        assert_eq!(
            found,
            [
                ("hw:CARD=PCH,DEV=0", "HDA Intel PCH: ALC269 Analog"),
                ("hw:CARD=Device,DEV=0", "USB Audio Device: USB Audio"),
            ]
        );
        assert_eq!(inputs("--- no soundcards ---\n", ""), []);
        assert_eq!(inputs("", ""), []);
    }
}
