"""Where each known leak and trap is tested, and how it ends; `test_leaks` checks that the tests are there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Covered:
    """A way in which a bundle breaks."""

    how: str
    """"found as EBxxx", "no effect", "refused", "impossible" …"""
    tests: tuple[str, ...] = ()
    """`file::function`, below `tests/`; each has a case that must be found and one that must not."""
    reason: str = ""
    """Why there is no test, or why it ends so."""


LEAKS: dict[str, Covered] = {
    "L01": Covered(
        how="no effect; what only it has is found as EB201",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_leaks::test_what_only_the_builder_has_is_missed",
            "test_create::test_the_caller_changes_not_one_byte",
            "test_fetch::test_a_build_sees_nothing_of_the_caller",
            "test_pip::test_pip_sees_nothing_of_the_caller",
            "test_doctor::test_variables_by_name_only",
        ),
    ),
    "L02": Covered(how="no effect", tests=("test_leaks::test_variables_that_change_what_python_writes",)),
    "L03": Covered(
        how="no effect",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_create::test_the_caller_changes_not_one_byte",
            "test_doctor::test_user_sites",
        ),
    ),
    "L04": Covered(
        how="no effect; an environment that has it is refused",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_leaks::test_environment_that_would_see_the_builder_is_refused",
        ),
    ),
    "L05": Covered(
        how="refused, with exit code 3",
        tests=("test_leaks::test_environment_that_would_see_the_builder_is_refused",),
        reason="pip only lists it, nothing is installed into it, and the import proof does not use it",
    ),
    "L06": Covered(
        how="no effect; found as EB112, EB111; an interpreter of conda is used only when named",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_paths::test_conda_interpreter",
            "test_paths::test_origins",
            "test_interpreters::test_a_conda_interpreter_is_used_only_when_named",
            "test_doctor::test_conda",
        ),
    ),
    "L07": Covered(
        how="no effect: it counts as its base",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_interpreters::test_a_virtualenv_counts_as_its_base",
        ),
    ),
    "L08": Covered(how="no effect", tests=("test_create::test_the_caller_changes_not_one_byte",)),
    "L09": Covered(
        how="no effect, and named among what was held back; what the network needs is passed on",
        tests=(
            "test_create::test_the_caller_changes_not_one_byte",
            "test_pip::test_the_callers_settings",
            "test_pip::test_what_the_network_needs_passes",
            "test_doctor::test_pip_settings",
        ),
    ),
    "L10": Covered(
        how="no effect: the store keeps what was built here by source and target",
        tests=(
            "test_leaks::test_local_wheels_of_pips_cache_are_not_taken",
            "test_fetch::test_built_once_for_each_target",
        ),
    ),
    "L11": Covered(
        how="no effect; uv installs nothing", tests=("test_create::test_the_caller_changes_not_one_byte",)
    ),
    "L12": Covered(how="no effect", tests=("test_fetch::test_a_build_sees_nothing_of_the_caller",)),
    "L13": Covered(
        how="no effect; what they would have given is found as EB303 and EB201",
        tests=("test_leaks::test_loader_variables_reach_no_process_of_the_target",),
    ),
    "L14": Covered(how="no effect", tests=("test_leaks::test_variables_that_change_what_python_writes",)),
    "L15": Covered(
        how="found as EB108, EB501",
        tests=("test_paths::test_startup_lines", "test_lost::test_startup"),
    ),
    "L16": Covered(
        how="found as EB501, and as EB201 where an import needs it",
        tests=(
            "test_lost::test_startup",
            "test_verify::test_start_up_modules_run_and_pth_files_do_not",
            "test_families::test_real_instances",
        ),
    ),
    "L17": Covered(
        how="found as EB106; `-e` in requirements is built as a wheel or refused",
        tests=(
            "test_paths::test_startup_lines",
            "test_paths::test_finder_modules",
            "test_checks::test_reader_of_odd_entries",
            "test_checks::test_freeze_against_lock",
        ),
    ),
    "L18": Covered(
        how="found as EB108, EB111, EB106, EB604; of ours, only what leads to the network is written",
        tests=(
            "test_paths::test_origins",
            "test_install::test_direct_url",
            "test_supply::test_direct",
            "test_bad_surroundings::test_local_project_tells_nothing_of_the_builder",
        ),
    ),
    "L19": Covered(
        how="refused in a wheel; found as EB108, EB514",
        tests=(
            "test_wheels::test_refuses_what_was_changed",
            "test_paths::test_symlinks",
            "test_sabotage::test_sabotage_is_found_and_named",
        ),
    ),
    "L20": Covered(
        how="found as EB109; scripts and bytecode name no place",
        tests=(
            "test_paths::test_paths_of_this_builder",
            "test_create::test_script_runs_from_wherever_the_bundle_is",
            "test_create::test_same_bytes_on_another_day_in_another_place",
        ),
    ),
    "L21": Covered(
        how="libraries work where they are; data is found as EB502",
        tests=(
            "test_lost::test_data_files",
            "test_install::test_every_scheme_is_installed_and_recorded",
            "test_traps::test_trap",
        ),
    ),
    "L22": Covered(
        how="found as EB105, EB513",
        tests=("test_checks::test_records", "test_verify::test_every_change_is_found_and_named"),
    ),
    "L23": Covered(
        how="refused in a wheel; found as EB202, EB203, EB512",
        tests=(
            "test_wheels::test_refuses",
            "test_checks::test_records",
            "test_sabotage::test_sabotage_is_found_and_named",
        ),
    ),
    "L24": Covered(
        how="refused in a wheel; found as EB107, EB101",
        tests=(
            "test_wheels::test_refuses",
            "test_checks::test_reader_of_dist_info",
            "test_checks::test_reader_of_odd_entries",
            "test_checks::test_reader_against_lock_hides_nothing",
        ),
    ),
    "L25": Covered(
        how="found as EB401",
        tests=(
            "test_checks::test_two_owners_of_one_path",
            "test_checks::test_same_content_is_no_conflict",
            "test_families::test_real_instances",
        ),
    ),
    "L26": Covered(how="found as EB407", tests=("test_conflicts::test_customizers",)),
    "L27": Covered(
        how="no alarm where the imports work; found as EB201 where they do not",
        tests=("test_lost::test_startup", "test_traps::test_trap"),
    ),
    "L28": Covered(
        how="found as EB402",
        tests=(
            "test_conflicts::test_hidden_standard_library",
            "test_conflicts::test_standard_library_is_imported_behind_the_bundle",
            "test_verify::test_shadowed_standard_library_is_found",
            "test_families::test_real_instances",
        ),
    ),
    "L29": Covered(
        how="found as EB403, EB508",
        tests=("test_conflicts::test_case_twins", "test_lost::test_names"),
    ),
    "L30": Covered(
        how="stale bytecode is replaced; foreign bytecode is found as EB201",
        tests=(
            "test_odd_wheels::test_bytecode_that_a_wheel_brings",
            "test_store::test_bytecode_is_unchecked_and_used",
        ),
    ),
    "L31": Covered(
        how="found as EB120",
        tests=("test_fit::test_path_that_leads_out", "test_fit::test_library_of_the_builder"),
    ),
    "L32": Covered(
        how="found as EB120",
        tests=("test_fit::test_path_that_leads_out", "test_fit::test_expansion"),
    ),
    "L33": Covered(
        how="found as EB303",
        tests=(
            "test_fit::test_missing_library",
            "test_fit::test_library_that_is_not_there",
            "test_fit::test_library_that_comes_along",
            "test_traps::test_trap",
        ),
    ),
    "L34": Covered(
        how="found as EB201 by verify.py in the image",
        tests=("test_odd_wheels::test_the_images_library_path_beats_a_runpath",),
        reason="which folders LD_LIBRARY_PATH names, and what lies there, is the image's",
    ),
    "L35": Covered(
        how="found as EB301",
        tests=("test_fit::test_symbol_versions", "test_fit::test_newer_glibc_and_cut_off_file"),
    ),
    "L36": Covered(how="found as EB302", tests=("test_fit::test_symbol_versions",)),
    "L37": Covered(
        how="found as EB305 by its name, as EB201 where it needs what this Python lacks",
        tests=("test_fit::test_extension_name", "test_odd_wheels::test_untagged_extension_of_another_python"),
        reason="an ELF file does not say for which Python it is; one that needs nothing of another loads",
    ),
    "L38": Covered(how="found as EB304", tests=("test_fit::test_unloadable", "test_elf::test_cut_off")),
    "L39": Covered(
        how="found as EB602, with EB301, EB303, EB120 where they apply",
        tests=("test_supply::test_built", "test_fit::test_tags"),
    ),
    "L40": Covered(
        how="found as EB303, EB110 where an import does it",
        tests=(
            "test_verify::test_library_of_the_system_is_named",
            "test_verify::test_code_from_elsewhere_is_seen",
            "test_fit::test_image_has_it",
        ),
        reason="what runs only when the service works is seen by its own test alone",
    ),
    "L41": Covered(
        how="found as EB201",
        tests=(
            "test_verify::test_proof_names_every_culprit_and_goes_on",
            "test_checks::test_imports",
            "test_leaks::test_what_only_the_builder_has_is_missed",
        ),
    ),
    "L42": Covered(
        how="found as EB201, EB107",
        tests=("test_checks::test_reader_of_dist_info", "test_traps::test_trap"),
        reason="jsonschema asks for its own version when it is imported",
    ),
    "L43": Covered(
        how="impossible in the proof: it has no network, and a module that needs it is found as EB201",
        tests=(
            "test_odd_wheels::test_imports_that_need_the_network_or_write",
            "test_verify::test_isolation_is_what_it_says",
        ),
        reason="a module that does without is as it will be in the image",
    ),
    "L44": Covered(
        how="impossible in the proof: it is read-only, and a module that must write is found as EB201",
        tests=(
            "test_odd_wheels::test_imports_that_need_the_network_or_write",
            "test_verify::test_isolation_is_what_it_says",
        ),
    ),
    "L45": Covered(
        how="no effect; found as EB101, EB204",
        tests=(
            "test_leaks::test_packages_of_the_builder_have_no_part",
            "test_checks::test_freeze_against_lock",
            "test_checks::test_closure",
        ),
    ),
    "L46": Covered(
        how="impossible: the target's markers and tags decide; found as EB204, EB306, EB307",
        tests=(
            "test_checks::test_closure",
            "test_fit::test_tags",
            "test_fit::test_requires_python",
            "test_target::test_tags_are_those_of_the_real_interpreter_in_its_order",
            "test_traps::test_trap",
        ),
    ),
    "L47": Covered(how="found as EB404, EB405", tests=("test_conflicts::test_image",)),
    "L48": Covered(
        how="found as EB405",
        tests=("test_conflicts::test_image",),
        reason="a distribution in bundle and image is what doubles its entry points",
    ),
    "L49": Covered(
        how="found as EB406", tests=("test_conflicts::test_seeds", "test_conflicts::test_no_seeds")
    ),
    "L50": Covered(how="found as EB503", tests=("test_lost::test_scripts",)),
    "L51": Covered(
        how="nothing of the bundle can change it",
        reason="the folder of the service's own code comes behind the bundle, after it, whatever is bundled",
    ),
    "L52": Covered(
        how="no effect; found as EB509",
        tests=(
            "test_install::test_modes_do_not_follow_the_umask",
            "test_create::test_same_bytes_on_another_day_in_another_place",
            "test_lost::test_modes",
        ),
    ),
    "L53": Covered(
        how="impossible: resolved once, fetched by hash; found as EB103",
        tests=(
            "test_create::test_lock_then_create_is_create",
            "test_create::test_requirements_form_of_a_lock",
            "test_bad_surroundings::test_file_changed_on_its_way",
            "test_checks::test_freeze_against_lock",
        ),
    ),
}

TRAP = ("test_traps::test_trap",)
TRAPS: dict[int, Covered] = {
    1: Covered(how="found as EB402", tests=(*TRAP, "test_conflicts::test_remedy_for_a_backport")),
    2: Covered(how="works where it was moved to", tests=(*TRAP, "test_lost::test_data_files")),
    3: Covered(how="found as EB401", tests=(*TRAP, "test_checks::test_two_owners_of_one_path")),
    4: Covered(how="the target's glibc picks", tests=(*TRAP, "test_target::test_a_wheel_is_accepted_or_not")),
    5: Covered(how="the target's markers decide", tests=(*TRAP, "test_checks::test_closure")),
    6: Covered(how="the full version decides", tests=TRAP),
    7: Covered(how="refused, with the nearest names", tests=(*TRAP, "test_checks::test_unknown_extra")),
    8: Covered(
        how="built for the target, found as EB602",
        tests=(
            *TRAP,
            "test_create::test_sdist_is_built_for_the_target",
            "test_families::test_real_instances",
        ),
    ),
    9: Covered(
        how="found as EB404",
        tests=("test_conflicts::test_image",),
        reason="the check compares names and versions alone: the real ones are in its table",
    ),
    10: Covered(how="found as EB303", tests=(*TRAP, "test_fit::test_missing_library")),
    11: Covered(how="silent where harmless, else EB501", tests=(*TRAP, "test_lost::test_startup")),
    12: Covered(how="no alarm", tests=(*TRAP, "test_families::test_ordinary_sets_pass_in_silence")),
    13: Covered(
        how="no effect",
        tests=(
            "test_create::test_the_caller_changes_not_one_byte",
            "test_leaks::test_packages_of_the_builder_have_no_part",
        ),
    ),
}

CLASSES: dict[str, Covered] = {
    "data files outside site-packages": Covered(how="found as EB502", tests=("test_lost::test_data_files",)),
    "code reached by dlopen only": LEAKS["L40"],
    "codecs or hooks registered by a .pth": LEAKS["L16"],
    "the three styles of editable install": LEAKS["L17"],
    "locally built wheels tagged linux_x86_64": LEAKS["L39"],
    "build errors of 300 lines": Covered(
        how="cut to the lines that say something; the log has all",
        tests=(
            "test_bad_surroundings::test_build_fails",
            "test_create::test_sdist_is_built_for_the_target",
        ),
    ),
    "yanked releases": Covered(
        how="found as EB601", tests=("test_supply::test_yanked", "test_families::test_real_instances")
    ),
    "very long paths": Covered(
        how="found as EB505",
        tests=("test_lost::test_names", "test_odd_wheels::test_odd_names_and_many_files"),
    ),
    "very many files": Covered(
        how="found as EB506",
        tests=("test_lost::test_amounts", "test_odd_wheels::test_odd_names_and_many_files"),
    ),
    "names that differ in case only": Covered(
        how="found as EB403", tests=("test_conflicts::test_case_twins",)
    ),
    "non-ASCII names": Covered(how="work", tests=("test_odd_wheels::test_odd_names_and_many_files",)),
    "symlinks": LEAKS["L19"],
    "spaces in the output path": Covered(
        how="work", tests=("test_create::test_bundle", "test_odd_wheels::test_odd_names_and_many_files")
    ),
    "a wheel whose RECORD lies": Covered(
        how="refused", tests=("test_wheels::test_refuses", "test_wheels::test_refuses_what_was_changed")
    ),
    "a wheel with ../ in it": Covered(how="refused", tests=("test_wheels::test_refuses",)),
    "two versions of one distribution": Covered(
        how="refused in requirements and in a wheel; found as EB107",
        tests=(
            "test_bad_input::test_unsatisfiable",
            "test_wheels::test_refuses",
            "test_checks::test_reader_of_odd_entries",
        ),
    ),
    "relative, direct-URL and VCS requirements": Covered(
        how="work; found as EB604",
        tests=(
            "test_resolve::test_a_repository",
            "test_resolve::test_local_projects_and_files",
            "test_resolve::test_direct_urls",
            "test_supply::test_direct",
        ),
    ),
    "constraints and nested -r": Covered(
        how="work",
        tests=("test_requirements::test_what_pip_reads_we_read", "test_bad_input::test_requirements"),
    ),
    "--hash lines with a wrong hash": Covered(
        how="refused", tests=("test_bad_input::test_unsatisfiable", "test_resolve::test_hashes")
    ),
    "an index with a password": Covered(
        how="works, and the password is told nowhere",
        tests=(
            "test_bad_surroundings::test_index_wants_a_password",
            "test_bad_surroundings::test_password_is_used_and_never_told",
        ),
    ),
    "the same name on two indexes": Covered(
        how="found as EB605",
        tests=("test_supply::test_indexes", "test_odd_wheels::test_one_name_on_two_indexes"),
    ),
    "stripped native libraries": Covered(
        how="impossible: the bytes are the wheel's",
        tests=(
            "test_odd_wheels::test_untagged_extension_of_another_python",
            "test_install::test_every_scheme_is_installed_and_recorded",
        ),
    ),
}
