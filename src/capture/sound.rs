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
    let listed = listed().unwrap_or_else(|error| {
        log::warn!(error:%; "sound inputs cannot be listed");
        Vec::new()
    });
    listed.into_iter().map(SoundInput::from).collect()
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

/// What is not there of what the configuration means; `None` too where only opening it would tell, as of ALSA's
/// `default` and of all that plugins make.
pub fn sound_missing(device: &AudioDevice) -> Option<String> {
    missing(device, &listed().ok()?)
}

fn missing(device: &AudioDevice, listed: &[Listed]) -> Option<String> {
    match device {
        AudioDevice::Auto if listed.is_empty() => {
            Some("ALSA lists no sound input, and what it calls its default is taken".to_owned())
        }
        AudioDevice::Auto => None,
        AudioDevice::Named(name) => {
            let hardware = Hardware::parse(name)?;
            let is_there = listed.iter().any(|input| hardware.is(input));
            (!is_there).then(|| format!("ALSA lists no sound input {name}"))
        }
    }
}

/// An input of a card that the kernel lists.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    card: u32,
    /// The card's own name.
    id: String,
    device: u32,
    description: String,
}

impl From<Listed> for SoundInput {
    fn from(Listed { id, device, description, .. }: Listed) -> SoundInput {
        SoundInput { device: format!("hw:CARD={id},DEV={device}"), name: description }
    }
}

/// An input as a name of ALSA's that means a card's own, with or without conversion, spells it.
#[derive(Debug, PartialEq, Eq)]
struct Hardware<'a> {
    /// By its own name or its number.
    card: &'a str,
    device: u32,
}

impl<'a> Hardware<'a> {
    /// Of `hw:1,0`, `plughw:Device` or `hw:CARD=Device,DEV=0`; `None` of every other name, and where the card is left
    /// to ALSA's settings.
    fn parse(name: &'a str) -> Option<Self> {
        let (kind, arguments) = name.split_once(':')?;
        if !["hw", "plughw"].contains(&kind) {
            return None;
        }
        let (mut card, mut device) = (None, 0);
        for (place, argument) in arguments.split(',').enumerate() {
            let by_place = (*["CARD", "DEV", "SUBDEV"].get(place)?, argument);
            match argument.split_once('=').unwrap_or(by_place) {
                ("CARD", name) => card = Some(name),
                ("DEV", number) => device = number.parse().ok()?,
                ("SUBDEV", _) => {} // of a device, one of several that are alike
                _ => return None,
            }
        }
        // What is quoted or in braces is ALSA's business.
        let is_plain = |card: &&str| card.chars().all(|it| it.is_ascii_alphanumeric() || "_-".contains(it));
        Some(Hardware { card: card.filter(is_plain)?, device })
    }

    fn is(&self, input: &Listed) -> bool {
        let is_card = match self.card.parse::<u32>() {
            Ok(number) => number == input.card,
            Err(_) => self.card == input.id,
        };
        is_card && self.device == input.device
    }
}

fn listed() -> io::Result<Vec<Listed>> {
    let read = |path| match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    };
    Ok(inputs(&read("/proc/asound/cards")?, &read("/proc/asound/pcm")?))
}

/// Of ` 0 [Device         ]: USB-Audio - USB Audio Device` a card's number, name and description; of
/// `00-01: USB Audio : USB Audio : playback 1 : capture 1` the card's and the device's number.
fn inputs(cards: &str, pcm: &str) -> Vec<Listed> {
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
        Some(Listed { card, id: id.clone(), device, description: format!("{description}: {name}") })
    };
    pcm.lines().filter_map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARDS: &str = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      \
                         HDA Intel PCH at 0xf7d10000 irq 30\n \
                         2 [Device         ]: USB-Audio - USB Audio Device\n                      \
                         C-Media at usb-0000:00:14.0-2, full speed\n";
    const PCM: &str = "00-00: ALC269 Analog : ALC269 Analog : playback 1 : capture 1\n\
                       00-03: HDMI 0 : HDMI 0 : playback 1\n\
                       02-00: USB Audio : USB Audio : playback 1 : capture 1\n\
                       07-00: nobody : knows : capture 1\nnonsense\n";

    #[test]
    fn inputs_are_named_by_their_cards() {
        let found: Vec<_> = inputs(CARDS, PCM).into_iter().map(SoundInput::from).collect();
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

    #[test]
    fn what_no_card_has_is_missing_and_what_a_plugin_makes_is_not() {
        let listed = inputs(CARDS, PCM);
        let missing_of =
            |name: &str, listed: &[Listed]| missing(&AudioDevice::Named(name.to_owned()), listed);
        for there in [
            "hw:0",
            "hw:2,0",
            "hw:PCH",
            "hw:Device,0,1",
            "hw:Device,DEV=0",
            "plughw:CARD=Device",
            "hw:CARD=2,DEV=0,SUBDEV=3",
        ] {
            assert_eq!(missing_of(there, &listed), None, "{there}");
            let message = format!("ALSA lists no sound input {there}");
            assert_eq!(missing_of(there, &[]), Some(message));
        }
        for absent in ["hw:CARD=Nope", "hw:1,0", "hw:0,3", "plughw:PCH,1", "hw:CARD=Device,DEV=7", "hw:7"] {
            assert!(missing_of(absent, &listed).is_some(), "{absent}");
        }
        // Who knows: a plugin, a card that ALSA's settings choose, a spelling that is ALSA's business.
        for untold in [
            "default",
            "pulse",
            "hw",
            "hw:DEV=7",
            "sysdefault:CARD=Nope",
            "dsnoop:Nope",
            "plug:'hw:7'",
            "hw:0,x",
            "hw:0,0,0,0",
            "hw:{CARD 7}",
        ] {
            assert_eq!(missing_of(untold, &[]), None, "{untold}");
        }
        assert_eq!(missing(&AudioDevice::Auto, &listed), None);
        assert!(missing(&AudioDevice::Auto, &[]).is_some());
    }
}
