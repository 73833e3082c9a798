# Sourced by build.sh: what this machine's pip is told (files and PIP_ variables), written for the pip inside a build.
# Into $scratch: pip.conf and ca.pem, which travel as secrets; into docker/wheels: wheels found in local directories.

settings=$("${PYTHON:-python3}" -m pip config list 2>/dev/null || true)

pip_config() { # pip_config NAME: what `pip install` takes; the environment's before that of files
    for section in :env: install global; do
        printf '%s\n' "$settings" | sed -n "s/^$section\.$1='\(.*\)'\$/\1/p"
    done | sed 's/\\n/ /g' | head -n 1
}

remote() { # those of the addresses that another machine can reach too
    printf '%s\n' "$@" | grep '^https\?://' || true
}

: >"$scratch/ca.pem"
echo "[global]" >"$scratch/pip.conf"
for name in index-url trusted-host proxy default-timeout; do
    value=$(pip_config "$name")
    [ -z "$value" ] || echo "$name = $value" >>"$scratch/pip.conf"
done
for name in extra-index-url find-links; do
    # shellcheck disable=SC2046  # words
    value=$(remote $(pip_config "$name"))
    # shellcheck disable=SC2086  # on one line
    [ -z "$value" ] || echo "$name =" $value >>"$scratch/pip.conf"
done
value=$(pip_config cert)
if [ -n "$value" ]; then
    cp "$value" "$scratch/ca.pem"
    echo "cert = /run/secrets/ca.pem" >>"$scratch/pip.conf"
fi
for directory in $(pip_config find-links); do
    case $directory in
        /*) find "$directory" -maxdepth 1 -name '*.whl' -exec cp -n {} docker/wheels/ \; ;;
    esac
done
