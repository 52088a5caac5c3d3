#!/usr/bin/env bash
# llama_server.sh FOLDER: builds llama.cpp's server for this processor from the source package of llama-cpp-python, and prints its path.
# Does nothing if it is there. Needs cmake, ninja and a compiler; takes 15 minutes on two cores, or two with a filled ccache.
set -euo pipefail
version=0.3.36
folder=$1
server=$folder/llama-$version/bin/llama-server
if [ ! -x "$server" ]; then
    source=$folder/source
    rm -rf "$source" && mkdir -p "$source"
    "${PYTHON:-python3}" -m pip download -q --no-deps --no-build-isolation --no-binary :all: -d "$source" "llama-cpp-python==$version" >&2
    tar -xzf "$source"/*.tar.gz -C "$source"
    native=(-DGGML_NATIVE=ON)
    if grep -qw amx_int8 /proc/cpuinfo; then # built by GCC 12, this version's AMX code stops with a general protection fault
        native=(-DGGML_NATIVE=OFF -DGGML_AVX{,2,512,512_VBMI,512_VNNI}=ON -DGGML_{F16C,FMA,BMI2}=ON)
    fi
    cmake -S "$source"/llama_cpp_python-*/vendor/llama.cpp -B "$folder/llama-$version" -G Ninja -DCMAKE_BUILD_TYPE=Release "${native[@]}" \
        -DLLAMA_BUILD_UI=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF >&2
    cmake --build "$folder/llama-$version" --target llama-server >&2
    rm -rf "$source"
fi
echo "$server"
