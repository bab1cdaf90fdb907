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
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "create/test_leaks::test_what_only_the_builder_has_is_missed",
            "create/test_pipeline::test_the_caller_changes_not_one_byte",
            "create/test_build::test_a_build_sees_nothing_of_the_caller",
            "create/test_target_pip::test_pip_sees_nothing_of_the_caller",
            "checks/test_machine::test_variables_by_name_only",
        ),
    ),
    "L02": Covered(
        how="no effect", tests=("create/test_leaks::test_variables_that_change_what_python_writes",)
    ),
    "L03": Covered(
        how="no effect",
        tests=(
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "create/test_pipeline::test_the_caller_changes_not_one_byte",
            "checks/test_machine::test_user_sites",
        ),
    ),
    "L04": Covered(
        how="no effect; an environment that has it is refused",
        tests=(
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "create/test_leaks::test_environment_that_would_see_the_builder_is_refused",
        ),
    ),
    "L05": Covered(
        how="refused, with exit code 3",
        tests=("create/test_leaks::test_environment_that_would_see_the_builder_is_refused",),
        reason="pip only lists it, nothing is installed into it, and the import proof does not use it",
    ),
    "L06": Covered(
        how="no effect; found as EB112, EB111; an interpreter of conda is used only when named",
        tests=(
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "checks/test_leaks::test_conda_interpreter",
            "checks/test_leaks::test_origins",
            "targets/test_interpreters::test_a_conda_interpreter_is_used_only_when_named",
            "checks/test_machine::test_conda",
        ),
    ),
    "L07": Covered(
        how="no effect: it counts as its base",
        tests=(
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "targets/test_interpreters::test_a_virtualenv_counts_as_its_base",
        ),
    ),
    "L08": Covered(how="no effect", tests=("create/test_pipeline::test_the_caller_changes_not_one_byte",)),
    "L09": Covered(
        how="no effect, and named among what was held back; what the network needs is passed on",
        tests=(
            "create/test_pipeline::test_the_caller_changes_not_one_byte",
            "system/test_index_settings::test_the_callers_settings",
            "system/test_index_settings::test_what_the_network_needs_passes",
            "checks/test_machine::test_pip_settings",
        ),
    ),
    "L10": Covered(
        how="no effect: the store keeps what was built here by source and target",
        tests=(
            "create/test_leaks::test_local_wheels_of_pips_cache_are_not_taken",
            "create/test_build::test_built_once_for_each_target",
        ),
    ),
    "L11": Covered(
        how="no effect; uv installs nothing",
        tests=("create/test_pipeline::test_the_caller_changes_not_one_byte",),
    ),
    "L12": Covered(how="no effect", tests=("create/test_build::test_a_build_sees_nothing_of_the_caller",)),
    "L13": Covered(
        how="no effect; what they would have given is found as EB303 and EB201",
        tests=("create/test_leaks::test_loader_variables_reach_no_process_of_the_target",),
    ),
    "L14": Covered(
        how="no effect", tests=("create/test_leaks::test_variables_that_change_what_python_writes",)
    ),
    "L15": Covered(
        how="found as EB108, EB501",
        tests=("checks/test_leaks::test_startup_lines", "checks/test_lost::test_startup"),
    ),
    "L16": Covered(
        how="found as EB501, and as EB201 where an import needs it",
        tests=(
            "checks/test_lost::test_startup",
            "ontarget/test_imports::test_start_up_modules_run_and_pth_files_do_not",
            "checks/test_families::test_real_instances",
        ),
    ),
    "L17": Covered(
        how="found as EB106; `-e` in requirements is built as a wheel or refused",
        tests=(
            "checks/test_leaks::test_startup_lines",
            "checks/test_leaks::test_finder_modules",
            "checks/test_installed::test_reader_of_odd_entries",
            "checks/test_leaks::test_freeze_against_lock",
        ),
    ),
    "L18": Covered(
        how="found as EB108, EB111, EB106, EB604; of ours, only what leads to the network is written",
        tests=(
            "checks/test_leaks::test_origins",
            "create/test_install::test_direct_url",
            "checks/test_supply::test_direct",
            "cli/test_bad_surroundings::test_local_project_tells_nothing_of_the_builder",
        ),
    ),
    "L19": Covered(
        how="refused in a wheel; found as EB108, EB514",
        tests=(
            "wheels/test_unpack::test_refuses_what_was_changed",
            "checks/test_leaks::test_symlinks",
            "checks/test_sabotage::test_sabotage_is_found_and_named",
        ),
    ),
    "L20": Covered(
        how="found as EB109; scripts and bytecode name no place",
        tests=(
            "checks/test_leaks::test_paths_of_this_builder",
            "create/test_pipeline::test_script_runs_from_wherever_the_bundle_is",
            "create/test_pipeline::test_same_bytes_on_another_day_in_another_place",
        ),
    ),
    "L21": Covered(
        how="libraries work where they are; data is found as EB502",
        tests=(
            "checks/test_lost::test_data_files",
            "create/test_install::test_every_scheme_is_installed_and_recorded",
            "checks/test_traps::test_trap",
        ),
    ),
    "L22": Covered(
        how="found as EB105, EB513",
        tests=(
            "checks/test_incomplete::test_records",
            "ontarget/test_verify::test_every_change_is_found_and_named",
        ),
    ),
    "L23": Covered(
        how="refused in a wheel; found as EB202, EB203, EB512",
        tests=(
            "wheels/test_unpack::test_refuses",
            "checks/test_incomplete::test_records",
            "checks/test_sabotage::test_sabotage_is_found_and_named",
        ),
    ),
    "L24": Covered(
        how="refused in a wheel; found as EB107, EB101",
        tests=(
            "wheels/test_unpack::test_refuses",
            "checks/test_installed::test_reader_of_dist_info",
            "checks/test_installed::test_reader_of_odd_entries",
            "checks/test_leaks::test_reader_against_lock_hides_nothing",
        ),
    ),
    "L25": Covered(
        how="found as EB401",
        tests=(
            "checks/test_conflicts::test_two_owners_of_one_path",
            "checks/test_conflicts::test_same_content_is_no_conflict",
            "checks/test_families::test_real_instances",
        ),
    ),
    "L26": Covered(how="found as EB407", tests=("checks/test_conflicts::test_customizers",)),
    "L27": Covered(
        how="no alarm where the imports work; found as EB201 where they do not",
        tests=("checks/test_lost::test_startup", "checks/test_traps::test_trap"),
    ),
    "L28": Covered(
        how="found as EB402",
        tests=(
            "checks/test_conflicts::test_hidden_standard_library",
            "checks/test_conflicts::test_standard_library_is_imported_behind_the_bundle",
            "ontarget/test_imports::test_shadowed_standard_library_is_found",
            "checks/test_families::test_real_instances",
        ),
    ),
    "L29": Covered(
        how="found as EB403, EB508",
        tests=("checks/test_conflicts::test_case_twins", "checks/test_lost::test_names"),
    ),
    "L30": Covered(
        how="stale bytecode is replaced; foreign bytecode is found as EB201",
        tests=(
            "create/test_odd_wheels::test_bytecode_that_a_wheel_brings",
            "wheels/test_store::test_bytecode_is_unchecked_and_used",
        ),
    ),
    "L31": Covered(
        how="found as EB120",
        tests=(
            "checks/test_libraries::test_path_that_leads_out",
            "checks/test_misfits::test_library_of_the_builder",
        ),
    ),
    "L32": Covered(
        how="found as EB120",
        tests=("checks/test_libraries::test_path_that_leads_out", "checks/test_libraries::test_expansion"),
    ),
    "L33": Covered(
        how="found as EB303",
        tests=(
            "checks/test_libraries::test_missing_library",
            "checks/test_misfits::test_library_that_is_not_there",
            "checks/test_misfits::test_library_that_comes_along",
            "checks/test_traps::test_trap",
        ),
    ),
    "L34": Covered(
        how="found as EB201 by verify.py in the image",
        tests=("create/test_odd_wheels::test_the_images_library_path_beats_a_runpath",),
        reason="which folders LD_LIBRARY_PATH names, and what lies there, is the image's",
    ),
    "L35": Covered(
        how="found as EB301",
        tests=(
            "checks/test_misfits::test_symbol_versions",
            "checks/test_misfits::test_newer_glibc_and_cut_off_file",
        ),
    ),
    "L36": Covered(how="found as EB302", tests=("checks/test_misfits::test_symbol_versions",)),
    "L37": Covered(
        how="found as EB305 by its name, as EB201 where it needs what this Python lacks",
        tests=(
            "checks/test_misfits::test_extension_name",
            "create/test_odd_wheels::test_untagged_extension_of_another_python",
        ),
        reason="an ELF file does not say for which Python it is; one that needs nothing of another loads",
    ),
    "L38": Covered(
        how="found as EB304", tests=("checks/test_misfits::test_unloadable", "wheels/test_elf::test_cut_off")
    ),
    "L39": Covered(
        how="found as EB602, with EB301, EB303, EB120 where they apply",
        tests=("checks/test_supply::test_built", "checks/test_misfits::test_tags"),
    ),
    "L40": Covered(
        how="found as EB303, EB110 where an import does it",
        tests=(
            "ontarget/test_imports::test_library_of_the_system_is_named",
            "ontarget/test_imports::test_code_from_elsewhere_is_seen",
            "checks/test_libraries::test_image_has_it",
        ),
        reason="what runs only when the service works is seen by its own test alone",
    ),
    "L41": Covered(
        how="found as EB201",
        tests=(
            "ontarget/test_imports::test_proof_names_every_culprit_and_goes_on",
            "checks/test_incomplete::test_imports",
            "create/test_leaks::test_what_only_the_builder_has_is_missed",
        ),
    ),
    "L42": Covered(
        how="found as EB201, EB107",
        tests=("checks/test_installed::test_reader_of_dist_info", "checks/test_traps::test_trap"),
        reason="jsonschema asks for its own version when it is imported",
    ),
    "L43": Covered(
        how="impossible in the proof: it has no network, and a module that needs it is found as EB201",
        tests=(
            "create/test_odd_wheels::test_imports_that_need_the_network_or_write",
            "ontarget/test_imports::test_isolation_is_what_it_says",
        ),
        reason="a module that does without is as it will be in the image",
    ),
    "L44": Covered(
        how="impossible in the proof: it is read-only, and a module that must write is found as EB201",
        tests=(
            "create/test_odd_wheels::test_imports_that_need_the_network_or_write",
            "ontarget/test_imports::test_isolation_is_what_it_says",
        ),
    ),
    "L45": Covered(
        how="no effect; found as EB101, EB204",
        tests=(
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
            "checks/test_leaks::test_freeze_against_lock",
            "checks/test_incomplete::test_closure",
        ),
    ),
    "L46": Covered(
        how="impossible: the target's markers and tags decide; found as EB204, EB306, EB307",
        tests=(
            "checks/test_incomplete::test_closure",
            "checks/test_misfits::test_tags",
            "checks/test_misfits::test_requires_python",
            "targets/test_target::test_tags_are_those_of_the_real_interpreter_in_its_order",
            "checks/test_traps::test_trap",
        ),
    ),
    "L47": Covered(how="found as EB404, EB405", tests=("checks/test_conflicts::test_image",)),
    "L48": Covered(
        how="found as EB405",
        tests=("checks/test_conflicts::test_image",),
        reason="a distribution in bundle and image is what doubles its entry points",
    ),
    "L49": Covered(
        how="found as EB406",
        tests=("checks/test_conflicts::test_seeds", "checks/test_conflicts::test_no_seeds"),
    ),
    "L50": Covered(how="found as EB503", tests=("checks/test_lost::test_scripts",)),
    "L51": Covered(
        how="nothing of the bundle can change it",
        reason="the folder of the service's own code comes behind the bundle, after it, whatever is bundled",
    ),
    "L52": Covered(
        how="no effect; found as EB509",
        tests=(
            "create/test_install::test_modes_do_not_follow_the_umask",
            "create/test_pipeline::test_same_bytes_on_another_day_in_another_place",
            "checks/test_lost::test_modes",
        ),
    ),
    "L53": Covered(
        how="impossible: resolved once, fetched by hash; found as EB103",
        tests=(
            "create/test_pipeline::test_lock_then_create_is_create",
            "create/test_pipeline::test_requirements_form_of_a_lock",
            "cli/test_bad_surroundings::test_file_changed_on_its_way",
            "checks/test_leaks::test_freeze_against_lock",
        ),
    ),
}

TRAP = ("checks/test_traps::test_trap",)
TRAPS: dict[int, Covered] = {
    1: Covered(how="found as EB402", tests=(*TRAP, "checks/test_conflicts::test_remedy_for_a_backport")),
    2: Covered(how="works where it was moved to", tests=(*TRAP, "checks/test_lost::test_data_files")),
    3: Covered(how="found as EB401", tests=(*TRAP, "checks/test_conflicts::test_two_owners_of_one_path")),
    4: Covered(
        how="the target's glibc picks", tests=(*TRAP, "targets/test_target::test_a_wheel_is_accepted_or_not")
    ),
    5: Covered(how="the target's markers decide", tests=(*TRAP, "checks/test_incomplete::test_closure")),
    6: Covered(how="the full version decides", tests=TRAP),
    7: Covered(
        how="refused, with the nearest names", tests=(*TRAP, "checks/test_incomplete::test_unknown_extra")
    ),
    8: Covered(
        how="built for the target, found as EB602",
        tests=(
            *TRAP,
            "create/test_pipeline::test_sdist_is_built_for_the_target",
            "checks/test_families::test_real_instances",
        ),
    ),
    9: Covered(
        how="found as EB404",
        tests=("checks/test_conflicts::test_image",),
        reason="the check compares names and versions alone: the real ones are in its table",
    ),
    10: Covered(how="found as EB303", tests=(*TRAP, "checks/test_libraries::test_missing_library")),
    11: Covered(how="silent where harmless, else EB501", tests=(*TRAP, "checks/test_lost::test_startup")),
    12: Covered(how="no alarm", tests=(*TRAP, "checks/test_families::test_ordinary_sets_pass_in_silence")),
    13: Covered(
        how="no effect",
        tests=(
            "create/test_pipeline::test_the_caller_changes_not_one_byte",
            "create/test_leaks::test_packages_of_the_builder_have_no_part",
        ),
    ),
}

CLASSES: dict[str, Covered] = {
    "data files outside site-packages": Covered(
        how="found as EB502", tests=("checks/test_lost::test_data_files",)
    ),
    "code reached by dlopen only": LEAKS["L40"],
    "codecs or hooks registered by a .pth": LEAKS["L16"],
    "the three styles of editable install": LEAKS["L17"],
    "locally built wheels tagged linux_x86_64": LEAKS["L39"],
    "build errors of 300 lines": Covered(
        how="cut to the lines that say something; the log has all",
        tests=(
            "cli/test_bad_surroundings::test_build_fails",
            "create/test_pipeline::test_sdist_is_built_for_the_target",
        ),
    ),
    "yanked releases": Covered(
        how="found as EB601",
        tests=("checks/test_supply::test_yanked", "checks/test_families::test_real_instances"),
    ),
    "very long paths": Covered(
        how="found as EB505",
        tests=("checks/test_lost::test_names", "create/test_odd_wheels::test_odd_names_and_many_files"),
    ),
    "very many files": Covered(
        how="found as EB506",
        tests=("checks/test_lost::test_amounts", "create/test_odd_wheels::test_odd_names_and_many_files"),
    ),
    "names that differ in case only": Covered(
        how="found as EB403", tests=("checks/test_conflicts::test_case_twins",)
    ),
    "non-ASCII names": Covered(how="work", tests=("create/test_odd_wheels::test_odd_names_and_many_files",)),
    "symlinks": LEAKS["L19"],
    "spaces in the output path": Covered(
        how="work",
        tests=("create/test_pipeline::test_bundle", "create/test_odd_wheels::test_odd_names_and_many_files"),
    ),
    "a wheel whose RECORD lies": Covered(
        how="found as EB207; refused where it contradicts itself",
        tests=(
            "wheels/test_unpack::test_what_its_own_record_says_wrongly",
            "wheels/test_unpack::test_refuses",
            "checks/test_incomplete::test_record_that_is_wrong_upstream",
        ),
    ),
    "a wheel with ../ in it": Covered(how="refused", tests=("wheels/test_unpack::test_refuses",)),
    "two versions of one distribution": Covered(
        how="refused in requirements and in a wheel; found as EB107",
        tests=(
            "cli/test_bad_input::test_unsatisfiable",
            "wheels/test_unpack::test_refuses",
            "checks/test_installed::test_reader_of_odd_entries",
        ),
    ),
    "relative, direct-URL and VCS requirements": Covered(
        how="work; found as EB604",
        tests=(
            "create/test_resolve_sources::test_a_repository",
            "create/test_resolve_sources::test_local_projects_and_files",
            "create/test_resolve_sources::test_direct_urls",
            "checks/test_supply::test_direct",
        ),
    ),
    "constraints and nested -r": Covered(
        how="work",
        tests=(
            "create/test_requirements::test_what_pip_reads_we_read",
            "cli/test_bad_input::test_requirements",
        ),
    ),
    "--hash lines with a wrong hash": Covered(
        how="refused", tests=("cli/test_bad_input::test_unsatisfiable", "create/test_resolve::test_hashes")
    ),
    "an index with a password": Covered(
        how="works, and the password is told nowhere",
        tests=(
            "cli/test_bad_surroundings::test_index_wants_a_password",
            "cli/test_bad_surroundings::test_password_is_used_and_never_told",
        ),
    ),
    "the same name on two indexes": Covered(
        how="found as EB605",
        tests=("checks/test_supply::test_indexes", "create/test_odd_wheels::test_one_name_on_two_indexes"),
    ),
    "stripped native libraries": Covered(
        how="impossible: the bytes are the wheel's",
        tests=(
            "create/test_odd_wheels::test_untagged_extension_of_another_python",
            "create/test_install::test_every_scheme_is_installed_and_recorded",
        ),
    ),
}
