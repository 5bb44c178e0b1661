use super::*;

fn library(sm: &[&str], ptx: &[&str]) -> Library {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Library { version: "1".to_owned(), size: 1, sm: own(sm), ptx: own(ptx) }
}

fn facts(libraries: &[(&str, Library)]) -> GpuFacts {
    let libraries = libraries.iter().map(|(name, library)| ((*name).to_owned(), library.clone()));
    let platforms = BTreeMap::from([("linux/amd64".to_owned(), libraries.collect())]);
    GpuFacts { platforms, ..GpuFacts::default() }
}

#[test]
fn machine_code_runs_on_newer_gpus_of_its_generation() {
    let library = library(&["80", "90a", "100f"], &[]);
    let supported = [70, 75, 80, 86, 89, 90, 100, 103, 110, 120].map(|sm| library.supports(sm));
    assert_eq!(supported, [false, false, true, true, true, true, true, true, false, false]);
    assert!(!self::library(&["90a"], &[]).supports(92));
    assert!(self::library(&["90"], &[]).supports(92));
}

#[test]
fn only_the_newest_ptx_is_for_newer_gpus() {
    let library = library(&["52", "80"], &["52", "100"]);
    let supported = [52, 60, 70, 80, 90, 100, 120].map(|sm| library.supports(sm));
    assert_eq!(supported, [true, false, false, true, false, true, true]);
    assert!(self::library(&[], &[]).supports(50), "a library without kernels");
}

#[test]
fn an_image_supports_what_all_of_its_libraries_support() {
    let all = facts(&[
        ("cublas", library(&["50", "75", "80", "86", "90", "90a"], &["90"])),
        ("nccl", library(&["70", "80", "90"], &[])),
        ("cudart", library(&[], &[])),
    ]);
    assert_eq!(all.supported(), [75, 80, 86, 90]);
    assert_eq!(all.lacking(120), ["nccl"]);
    assert_eq!(all.lacking(60), ["cublas", "nccl"]);
    assert!(all.lacking(89).is_empty());
}

#[test]
fn architectures_are_lost_by_library() {
    let before = facts(&[
        ("cublas", library(&["50", "60", "90"], &["90"])),
        ("nccl", library(&["50"], &[])),
        ("cufft", library(&["50"], &[])),
    ]);
    let now = facts(&[("cublas", library(&["90"], &[])), ("nccl", library(&["50", "90"], &[]))]);
    assert_eq!(Lost::list(&now.lost_since(&before)), "cublas lacks sm_50 and sm_60");
    let permissive = GpuFacts { droppable: vec!["50".to_owned()], ..now };
    assert_eq!(Lost::list(&permissive.lost_since(&before)), "cublas lacks sm_60");
    assert!(before.lost_since(&before).is_empty());
}

#[test]
fn the_label_is_read_as_it_was_written() {
    let libraries = [("cublas", library(&["80"], &["90"])), ("cudart", library(&[], &[]))];
    let all = GpuFacts { cuda: Some(("12.8".to_owned(), "12.0".to_owned())), ..facts(&libraries) };
    let labels = all.labels();
    let lines: Vec<String> = labels.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(GpuFacts::from_label(&labels[GpuFacts::LABEL]), Some(facts(&libraries)));
    assert_eq!(GpuFacts::from_label("[]"), None);
}
