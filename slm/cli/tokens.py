"""`hh-slm export-tokens` and `import-tokens`: token stores as Parquet, and back."""

from __future__ import annotations

import argparse

from codec.command_line import DONE, Commands, add_command, print_report


def add(commands: Commands) -> None:
    """Add both commands."""
    exporting = add_command(
        commands,
        "export-tokens",
        run_export,
        summary="a token store as a Parquet file",
        description="Codes and fields of all items as columns, for datasets, pandas and others.",
        examples="example:\n  hh-slm export-tokens runs/new/encode_corpus/tokens/train "
        "train.parquet",
    )
    exporting.add_argument("store", metavar="STORE", help="folder or URL of a token store")
    exporting.add_argument("output", metavar="OUT", help=".parquet file")
    importing = add_command(
        commands,
        "import-tokens",
        run_import,
        summary="a Parquet file as a token store",
        description="The columns id, codes, codec_fingerprint, codebook_size and frame_rate are "
        "needed; text and speaker are used by the language model, others are kept.\n"
        "A store that is there already is not replaced: another file needs another folder.",
        examples="example:\n  hh-slm import-tokens train.parquet tokens/train",
    )
    importing.add_argument("input", metavar="IN", help=".parquet file")
    importing.add_argument("store", metavar="STORE", help="folder of the token store to write")


def run_export(arguments: argparse.Namespace) -> int:
    """Write the Parquet file.

    Raises:
        ValueError: No token store, another suffix, or a package that is missing.
    """
    from slm.data.parquet import export_parquet
    from slm.data.token_store import TokenStore

    _check_package()
    if not arguments.output.lower().endswith(".parquet"):
        raise ValueError(f"{arguments.output}: expected a name ending in .parquet")
    store = TokenStore(arguments.store)
    # Damage is found before a file is written from it.
    store.check()
    count = export_parquet(store, arguments.output)
    _report(arguments, arguments.output, count, store.num_codes, store.codec_fingerprint)
    return DONE


def run_import(arguments: argparse.Namespace) -> int:
    """Write the token store.

    Raises:
        ValueError: No Parquet file of codes, or a package that is missing.
    """
    from slm.data.parquet import import_parquet
    from slm.data.token_store import TokenStore

    _check_package()
    count = import_parquet(arguments.input, arguments.store)
    store = TokenStore(arguments.store)
    _report(arguments, arguments.store, count, store.num_codes, store.codec_fingerprint)
    return DONE


def _check_package() -> None:
    from slm.data.parquet import import_pyarrow

    try:
        import_pyarrow()
    except ImportError as error:
        raise ValueError(str(error)) from error


def _report(
    arguments: argparse.Namespace, output: str, items: int, codes: int, fingerprint: str
) -> None:
    report = {
        "output": str(output),
        "num_items": items,
        "num_codes": codes,
        "codec_fingerprint": fingerprint,
    }
    print_report(report, as_json=arguments.json)
