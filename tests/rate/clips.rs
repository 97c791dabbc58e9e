//! Clips that ask something of an encoder, made once by ffmpeg and kept beside the bench's.

use std::path::PathBuf;
use std::process::Command;

/// Zoom, texture and sensor noise without end: an encoder always needs the rate that it is given.
pub fn motion() -> PathBuf {
    made("motion", &[&format!("{MOTION}:rate=30,{NOISE},trim=duration=40")])
}

/// Nothing moves for 62 s, then everything for 25 s.
pub fn still_then_motion() -> PathBuf {
    let still = "smptebars=size=640x360:rate=30,trim=duration=62";
    made("still-then-motion", &[still, &format!("{MOTION}:rate=30,{NOISE},trim=duration=25")])
}

/// Another scene, all of it motion and noise, every two seconds.
pub fn cuts() -> PathBuf {
    let scenes = [
        format!("{MOTION}:rate=30:end_pts=60"),
        "testsrc2=size=640x360:rate=30".to_owned(),
        "life=size=160x90:rate=30:mold=10:ratio=0.3:death_color=#203040:life_color=#ffe0a0,scale=640:360"
            .to_owned(),
        "cellauto=size=320x180:rate=30:rule=110:scroll=1,scale=640:360".to_owned(),
        "gradients=size=640x360:rate=30:n=6:speed=0.03".to_owned(),
    ];
    let scenes: Vec<String> = scenes.iter().map(|scene| format!("{scene},{NOISE},trim=duration=2")).collect();
    made("cuts", &scenes.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The scenes one after the other.
fn made(name: &str, scenes: &[&str]) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let folder = cache.unwrap_or_else(home).join("uplinkd-lab");
    let clip = folder.join(format!("rate-{name}-{RECIPE}.mkv"));
    if clip.exists() {
        return clip;
    }
    eprintln!("making the clip {name:?}: this is done once");
    std::fs::create_dir_all(&folder).expect("the cache is made");
    let unfinished = clip.with_extension(format!("{}.mkv", std::process::id()));
    let inputs: String = (scenes.iter().enumerate())
        .map(|(index, scene)| format!("{scene},format=yuv420p,setsar=1[s{index}];"))
        .collect();
    let labels: String = (0..scenes.len()).map(|index| format!("[s{index}]")).collect();
    let graph = format!("{inputs}{labels}concat=n={}", scenes.len());
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &graph])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "fastdecode", "-crf", "20", "-g", "300"])
        .arg(&unfinished)
        .output()
        .expect("ffmpeg runs; `make setup` installs it");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&unfinished, &clip).expect("the clip gets its name");
    clip
}

/// Changed with the recipes above, so that old clips are not taken for new ones.
const RECIPE: u32 = 1;
const MOTION: &str = "mandelbrot=size=640x360:maxiter=300:end_scale=0.0003:end_pts=400";
const NOISE: &str = "noise=alls=10:allf=t";
