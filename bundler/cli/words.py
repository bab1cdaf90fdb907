"""What the commands take, and the first help: made by scripts/docs from the commands; change those."""

from __future__ import annotations

HELP_COLUMNS = 80
"""The least width of a terminal for it."""
HELP = """\
Usage: envbundle [OPTIONS] COMMAND [ARGS]...

  Build site-packages directories that are proved to work where there is no
  network.

  Examples:
    envbundle create -r requirements.txt --python 3.8 -o src/myenv
    envbundle lock -r requirements.txt --python 3.8 -o pylock.toml
    envbundle create --lock pylock.toml -o src/myenv
    envbundle inspect src/myenv
    envbundle verify src/myenv
    envbundle deploy src/myenv --to docker -o context --base IMAGE
    envbundle rehearse src/myenv --entry score.py --request request.json
    envbundle explain EB204
    envbundle doctor

Options:
  --version      Show the version and exit.
  -v, --verbose  Say every program that is run; -vv: what it says too.
  -h, --help     Show this message and exit.

Commands:
  create      Make a proved bundle: a folder to put on PYTHONPATH.
  lock        Write a lock: every file with its hash, for one target.
  inspect     Show what a bundle is for and what is in it.
  verify      Verify a bundle: every file, its target, every import.
  sign        Sign a bundle: its manifest, and with it every file.
  deploy      Write what a platform takes to run a bundle.
  rehearse    Start the service here as the image would, and ask it.
  explain     Say what a check code means, and what to do.
  doctor      Say what on this machine would spoil a build or a mount.
  images      Show what is known of images, and ask an image itself.
  cache       Look after the folder where wheels are kept.
  audit       Judge a site-packages folder that somebody made by hand.
  pack        Pack a bundle; the same bundle is the same bytes.
  delta       Write what makes a new bundle of an old one.
  apply       Make a new bundle of an old one and a delta.
  diff        Tell what is different between two bundles or locks.
  report      Write a page about a bundle.
  rebuild     Make every bundle of envbundle.toml again that changed.
  save        Save what the other side of a gap has not yet.
  load        Load what was saved, verified, into a shelf.
  matrix      Print what a CI server takes to share a nightly's bundles.
  completion  Print what completes envbundle in a shell; man pages.
"""
WORDS = """
create
 -r --requirement file *
 -c --constraint file *
 --extra value *
 --group value *
 --from-env file
 --build-constraint file *
 --python value
 --glibc value
 --image value
 --fit --no-fit
 --server value
 --resolver uv|pip
 -i --index-url value
 --extra-index-url value *
 -f --find-links value *
 --no-index
 --trusted-host value *
 --no-binary value *
 --only-binary value *
 --pre
 --exclude-newer value
 --refresh
 --prefer-binary
 --build-timeout value
 --build-disk value
 --memory-limit value
 --process-limit value
 --output-limit value
 --no-build
 --require-isolation
 --build-network
 --no-python-downloads
 --lock file
 -o --output file
 --format value *
 --force
 --link-mode copy|hardlink
 --wheelhouse file
 --thin
 --entry file *
 --source file *
 --prove
 --import-timeout value
 --sign file
 --mend
 --mend-tries value
 --mend-seconds value
 --provenance
 --require-provenance value *
 --publisher value *
 --trusted-root file
 --strict
 --ignore value *
 --assume-lib value *
 --deny-licence value *
 --cache-dir file
 -q --quiet
 --json
 -h --help
lock
 -r --requirement file *
 -c --constraint file *
 --extra value *
 --group value *
 --from-env file
 --build-constraint file *
 --python value
 --glibc value
 --image value
 --fit --no-fit
 --server value
 --resolver uv|pip
 -i --index-url value
 --extra-index-url value *
 -f --find-links value *
 --no-index
 --trusted-host value *
 --no-binary value *
 --only-binary value *
 --pre
 --exclude-newer value
 --refresh
 --prefer-binary
 --build-timeout value
 --build-disk value
 --memory-limit value
 --process-limit value
 --output-limit value
 --no-build
 --require-isolation
 --build-network
 --no-python-downloads
 -o --output file *
 --check
 --provenance
 --require-provenance value *
 --publisher value *
 --trusted-root file
 --strict
 --ignore value *
 --cache-dir file
 -q --quiet
 --json
 -h --help
inspect
 --json
 -h --help
verify
 --no-imports
 --python value
 --image value
 --require-isolation
 --import-timeout value
 --memory-limit value
 --process-limit value
 --output-limit value
 --allowed-signers file *
 --key value *
 --revoked file *
 --signatures file
 --name value
 --not-older-than value
 --cache-dir file
 -q --quiet
 --json
 -h --help
sign
 --key file
 --name value
 --counter value
 -q --quiet
 --json
 -h --help
deploy
 --to azureml-v1|azureml-v2|docker|compose|kubernetes|aws-lambda|azure-functions|sagemaker|wheelhouse
 -o --output file
 --code file
 --entry value
 --model file
 --base value
 --image value
 --image-python value
 --name value
 --env value *
 --bundle-image value
 --wheels-at value
 --verify-with file
 --signed-as value
 -i --index-url value
 --extra-index-url value *
 -f --find-links value *
 --no-index
 --trusted-host value *
 --cache-dir file
 -q --quiet
 --json
 -h --help
rehearse
 --entry file
 --code file
 --request file
 --model file
 --lib-path value
 -e --env value *
 --layout v1|v2
 --image value
 --server value
 --python value
 --engine podman|docker
 --base value
 --port value
 --timeout value
 --memory-limit value
 --process-limit value
 --output-limit value
 -i --index-url value
 --extra-index-url value *
 -f --find-links value *
 --no-index
 --trusted-host value *
 --no-python-downloads
 --cache-dir file
 -q --quiet
 --json
 -h --help
explain
 --list
 --json
 -h --help
doctor
 --python value *
 -o --output file
 --cache-dir file
 --json
 -h --help
images
 -h --help
images diff
 --json
 -h --help
images list
 --python value
 --json
 -h --help
images probe
 -h --help
images show
 --pins
 --json
 -h --help
cache
 -h --help
cache info
 --cache-dir file
 --json
 -h --help
cache prune
 --older-than value
 --all
 --cache-dir file
 --json
 -h --help
cache verify
 --cache-dir file
 --json
 -h --help
audit
 --python value
 --image value
 --glibc value
 --import-timeout value
 --memory-limit value
 --process-limit value
 --output-limit value
 --strict
 --ignore value *
 --assume-lib value *
 --deny-licence value *
 --cache-dir file
 -q --quiet
 --json
 -h --help
pack
 --format value *
 -o --output file
 --force
 --sign file
 -q --quiet
 --json
 -h --help
delta
 -o --output file
 --compression xz|zlib
 --force
 -q --quiet
 --json
 -h --help
apply
 -o --output file
 -q --quiet
 --json
 -h --help
diff
 --files
 --markdown
 --json
 --exit-code
 -h --help
report
 --since file
 --import-times --no-import-times
 --python value
 -o --output file
 --cache-dir file
 -q --quiet
 --json
 -h --help
rebuild
 --only value *
 --shard value
 -j --jobs value
 --dry-run
 --locked
 --full
 --exclude-newer value
 --publish value
 --sign file
 --scheduler local|dask
 --dask-address value
 --store-url value
 --summary file
 --report file
 --junit file
 --require-isolation
 --cache-dir file
 -q --quiet
 --json
 -h --help
save
 -o --output file
 --since file
 --all
 --part-size value
 --compression xz|zlib
 --force
 -q --quiet
 --json
 -h --help
load
 --receipt file
 --allow-rollback
 --keep value
 --allowed-signers file *
 --key value *
 --revoked file *
 --not-older-than value
 -q --quiet
 --json
 -h --help
matrix
 --for json|github|azure|kubernetes
 --shards value
 --only value *
 --container-image value
 --name value
 --namespace value
 --claim value
 --mount value
 --file value
 --cache-claim value
 --secret value *
 --cpu value
 --memory value
 --json
 -h --help
completion
 --install
 -h --help
"""
"""Commands, and below each its options: names; file, value, or choices; `*`, if it may be given again."""
