//! PAT and PMT: which PID is what.

use mpeg2ts_reader::StreamType;
use mpeg2ts_reader::descriptor::CoreDescriptors;
use mpeg2ts_reader::packet::{Packet, Pid};
use mpeg2ts_reader::psi::pat::{PatSection, ProgramDescriptor};
use mpeg2ts_reader::psi::pmt::{PmtSection, StreamInfo};
use mpeg2ts_reader::psi::{
    BufferSectionSyntaxParser, CrcCheckWholeSectionSyntaxPayloadParser, SectionCommonHeader,
    SectionPacketConsumer, SectionSyntaxSectionProcessor, TableSyntaxHeader, WholeSectionSyntaxPayloadParser,
};

/// A stream that the PMT lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub pid: u16,
    pub codec: Codec,
}

/// What a stream carries, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
    /// AAC in ADTS frames.
    Aac,
    /// Each packet behind its control header.
    Opus,
    OtherVideo,
    OtherAudio,
    /// Neither picture nor sound, or private data. Holds the stream_type.
    Other(u8),
}

impl Codec {
    pub fn is_video(self) -> bool {
        matches!(self, Codec::H264 | Codec::H265 | Codec::OtherVideo)
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::H265 => "H.265",
            Codec::Aac => "AAC",
            Codec::Opus => "Opus",
            Codec::OtherVideo | Codec::OtherAudio | Codec::Other(_) => "unknown",
        }
    }

    pub fn is_audio(self) -> bool {
        matches!(self, Codec::Aac | Codec::Opus | Codec::OtherAudio)
    }

    /// `registration`: the format that the stream's registration descriptor names.
    fn of(stream_type: StreamType, registration: Option<[u8; 4]>) -> Self {
        match stream_type {
            PRIVATE_PES if registration == Some(*b"Opus") => Codec::Opus,
            StreamType::H264 => Codec::H264,
            StreamType::H265 => Codec::H265,
            StreamType::ADTS => Codec::Aac,
            StreamType::H262 | StreamType::ISO_11172_VIDEO | StreamType::ISO_14496_2_VISUAL => {
                Codec::OtherVideo
            }
            StreamType::LATM
            | StreamType::ISO_11172_AUDIO
            | StreamType::ISO_138183_AUDIO
            | StreamType::ATSC_DOLBY_DIGITAL_AUDIO => Codec::OtherAudio,
            StreamType(other) => Codec::Other(other),
        }
    }
}

/// The tables of a stream. Only its first program is followed.
pub(super) struct Tables {
    pat: Sections<PatParser>,
    pmt: Sections<PmtParser>,
    found: Found,
}

impl Default for Tables {
    fn default() -> Self {
        Tables { pat: sections(PatParser), pmt: sections(PmtParser), found: Found::default() }
    }
}

impl Tables {
    /// Reads a packet if it belongs to a table; whether the PMT changed by it.
    pub fn take(&mut self, packet: &Packet<'_>, gap: bool) -> bool {
        let changes = self.found.changes_of_pmt;
        if packet.pid() == Pid::PAT {
            if gap {
                self.pat = sections(PatParser);
            }
            self.pat.consume(&mut self.found, packet);
        } else if self.found.pmt_pid == Some(packet.pid()) {
            if gap {
                self.pmt = sections(PmtParser);
            }
            self.pmt.consume(&mut self.found, packet);
        }
        self.found.changes_of_pmt != changes
    }

    pub fn pat_sections(&self) -> u64 {
        self.found.pat_sections
    }

    pub fn pmt_sections(&self) -> u64 {
        self.found.pmt_sections
    }

    /// Not counting the first of each table.
    pub fn changes(&self) -> u64 {
        self.found.changes_of_pat.saturating_sub(1) + self.found.changes_of_pmt.saturating_sub(1)
    }

    pub fn streams(&self) -> &[Stream] {
        &self.found.streams
    }

    /// Where the program clock reference is.
    pub fn clock_pid(&self) -> Option<Pid> {
        self.found.clock_pid
    }
}

/// What the parsers have found; they change nothing else.
#[derive(Default)]
struct Found {
    pmt_pid: Option<Pid>,
    clock_pid: Option<Pid>,
    streams: Vec<Stream>,
    pat_sections: u64,
    pmt_sections: u64,
    changes_of_pat: u64,
    changes_of_pmt: u64,
}

/// Puts sections together from packets and checks their checksums.
type Sections<P> = SectionPacketConsumer<
    SectionSyntaxSectionProcessor<BufferSectionSyntaxParser<CrcCheckWholeSectionSyntaxPayloadParser<P>>>,
>;

fn sections<P: WholeSectionSyntaxPayloadParser<Context = Found>>(parser: P) -> Sections<P> {
    let checked = CrcCheckWholeSectionSyntaxPayloadParser::new(parser);
    let buffered = BufferSectionSyntaxParser::new(checked);
    SectionPacketConsumer::new(SectionSyntaxSectionProcessor::new(buffered))
}

struct PatParser;

impl WholeSectionSyntaxPayloadParser for PatParser {
    type Context = Found;

    fn section<'a>(
        &mut self,
        found: &mut Found,
        header: &SectionCommonHeader,
        _: &TableSyntaxHeader<'a>,
        data: &'a [u8],
    ) {
        if header.table_id != PAT_TABLE {
            return;
        }
        found.pat_sections += 1;
        let program = PatSection::new(body(data)).programs().find_map(|program| match program {
            ProgramDescriptor::Program { pid, .. } => Some(pid),
            ProgramDescriptor::Network { .. } => None,
        });
        if program != found.pmt_pid {
            found.pmt_pid = program;
            found.changes_of_pat += 1;
        }
    }
}

struct PmtParser;

impl WholeSectionSyntaxPayloadParser for PmtParser {
    type Context = Found;

    fn section<'a>(
        &mut self,
        found: &mut Found,
        header: &SectionCommonHeader,
        _: &TableSyntaxHeader<'a>,
        data: &'a [u8],
    ) {
        if header.table_id != PMT_TABLE {
            return;
        }
        let Ok(section) = PmtSection::from_bytes(body(data)) else { return };
        found.pmt_sections += 1;
        let streams: Vec<Stream> = (section.streams())
            .map(|info| Stream {
                pid: info.elementary_pid().into(),
                codec: Codec::of(info.stream_type(), registration(&info)),
            })
            .collect();
        if found.clock_pid != Some(section.pcr_pid()) || found.streams != streams {
            found.clock_pid = Some(section.pcr_pid());
            found.streams = streams;
            found.changes_of_pmt += 1;
        }
    }
}

/// The format identifier of a stream's registration descriptor (ISO/IEC 13818-1, 2.6.8).
fn registration(info: &StreamInfo<'_>) -> Option<[u8; 4]> {
    info.descriptors::<CoreDescriptors<'_>>().find_map(|descriptor| match descriptor {
        Ok(CoreDescriptors::Registration(registration)) => Some(registration.format_identifier().0.0),
        Ok(_) | Err(_) => None,
    })
}

/// A section between its headers and its checksum; the checksum was checked, so both are there.
fn body(section: &[u8]) -> &[u8] {
    let headers = SectionCommonHeader::SIZE + TableSyntaxHeader::SIZE;
    &section[headers..section.len() - CHECKSUM_BYTES]
}

/// Whatever has no stream type of its own.
const PRIVATE_PES: StreamType = StreamType(6);
const PAT_TABLE: u8 = 0;
const PMT_TABLE: u8 = 2;
const CHECKSUM_BYTES: usize = 4;
