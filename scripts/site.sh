# Sourced: `site FOLDER` lays a package directory whose Python files are this checkout's (by links) and whose extension is to be built there.
site() {
    mkdir -p "$1/intact"
    find "$1/intact" -maxdepth 1 -type l -delete
    local entry
    for entry in "$PWD"/src/intact/*; do
        case ${entry##*/} in
            *.so | __pycache__) ;;
            *) ln -s "$entry" "$1/intact/" ;;
        esac
    done
}
# `kernel_tests` are the tests of kernels, for what is too slow for all that are marked `native`.
kernel_tests=(tests/native tests/numerics/test_fp32.py tests/executors/test_head_inputs.py tests/test_conformance.py tests/test_package.py)
