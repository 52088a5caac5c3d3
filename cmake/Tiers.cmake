# The list of tiers: one set of kernels for each instruction set that is worth one. To add a tier, see docs/adding.md.
#
# native/tiers/tier_NAME.cpp holds the int8 profile's kernels of tier NAME and is compiled with flags of its own, several times: once for each
# part of the matrix products, once for the rest. The fp32 profile's are generated from native/tiers/tier_fp32.cpp.in.
# All other sources are compiled for the baseline of the machine's family.
# Inline functions of a tier must not leak into others: a tier keeps everything in an anonymous namespace (scripts/check_tiers.sh looks).

set(INTACT_ALL_TIERS "")
set(INTACT_PRODUCT_PARTS 1 2 3) # native/tiers/products.inl

# intact_tier(NAME [FAMILY FAMILY] [SETS SET...] [DETECT FEATURE...] [KERNELS TIER] [PRODUCTS TIER [BELOW]] [FP32 TIER]): add a tier, better
# than those before.
#   FAMILY    x86_64, aarch64 or wasm32; every family without it
#   SETS      instruction sets that it is compiled for (-mSET)
#   DETECT    features that the processor must have besides (native/tiers/cpu.cpp knows those of both kinds)
#   KERNELS, PRODUCTS, FP32   the tier whose kernels it takes, whose matrix products, whose fp32 kernels; without one, it has its own
#   BELOW     a tier whose products its own call
macro(intact_tier name)
  cmake_parse_arguments(TIER "" "FAMILY;KERNELS;FP32" "SETS;DETECT;PRODUCTS" ${ARGN})
  list(APPEND INTACT_ALL_TIERS ${name})
  set(INTACT_FAMILY_${name} ${TIER_FAMILY})
  set(INTACT_SETS_${name} ${TIER_SETS})
  set(INTACT_DETECT_${name} ${TIER_SETS} ${TIER_DETECT})
  foreach(kind KERNELS PRODUCTS FP32)
    set(INTACT_${kind}_${name} ${name})
    if(TIER_${kind})
      set(INTACT_${kind}_${name} ${TIER_${kind}})
    endif()
  endforeach()
endmacro()

intact_tier(scalar)
intact_tier(wasm FAMILY wasm32 SETS simd128)
intact_tier(neon FAMILY aarch64)
intact_tier(avx2 FAMILY x86_64 SETS avx2)
set(avx512 avx512f avx512bw avx512vl avx512dq avx512vnni)
intact_tier(avx512 FAMILY x86_64 SETS ${avx512})
set(vbmi2 ${avx512} avx512ifma avx512vbmi2 gfni)
intact_tier(vbmi2 FAMILY x86_64 SETS ${vbmi2} FP32 avx512)
# In vbmi2's products, what AMD's multipliers could do goes to shifts and affine maps.
intact_tier(zen4 FAMILY x86_64 SETS ${vbmi2} DETECT amd KERNELS vbmi2 PRODUCTS avx512 FP32 avx512)
# Instructions on tiles are written out.
intact_tier(amx FAMILY x86_64 SETS ${vbmi2} DETECT amx-tile amx-int8 KERNELS vbmi2 PRODUCTS amx vbmi2 FP32 avx512)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(family x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(family aarch64)
elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "wasm32")
  set(family wasm32)
endif()
set(INTACT_FAMILY_TIERS "")
foreach(tier IN LISTS INTACT_ALL_TIERS)
  foreach(taken IN LISTS INTACT_KERNELS_${tier} INTACT_PRODUCTS_${tier} INTACT_FP32_${tier})
    if(NOT taken IN_LIST INTACT_ALL_TIERS)
      message(FATAL_ERROR "cmake/Tiers.cmake has no tier ${taken}: it should be one of ${INTACT_ALL_TIERS}")
    endif()
  endforeach()
  foreach(taken IN LISTS INTACT_KERNELS_${tier} INTACT_PRODUCTS_${tier})
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/native/tiers/tier_${taken}.cpp")
      message(FATAL_ERROR "Tier ${taken} of cmake/Tiers.cmake needs its kernels: native/tiers/tier_${taken}.cpp is missing")
    endif()
  endforeach()
  if(NOT INTACT_FAMILY_${tier} OR INTACT_FAMILY_${tier} STREQUAL "${family}")
    list(APPEND INTACT_FAMILY_TIERS ${tier})
  endif()
endforeach()

# Set VARIABLE to the best tier that the processor of this machine has, as native/tiers/cpu.cpp tells.
function(intact_best_tier variable)
  set(rows "")
  foreach(tier IN LISTS INTACT_FAMILY_TIERS)
    list(JOIN INTACT_DETECT_${tier} " " features)
    string(PREPEND rows "if (intact::cpu_has(\"${features}\")) return std::puts(\"${tier}\"), 0;\n")
  endforeach()
  set(native "${CMAKE_CURRENT_SOURCE_DIR}/native")
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/best_tier.cpp" @ONLY
       CONTENT "#include <cstdio>\n#include \"tiers/cpu.h\"\nint main() {\n${rows}}\n")
  set(THREADS_PREFER_PTHREAD_FLAG ON)
  find_package(Threads REQUIRED)
  try_run(status compiled SOURCES "${CMAKE_CURRENT_BINARY_DIR}/best_tier.cpp" "${native}/tiers/cpu.cpp" "${native}/system.cpp"
          CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${native}" LINK_LIBRARIES Threads::Threads CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
          COMPILE_OUTPUT_VARIABLE said RUN_OUTPUT_VARIABLE best)
  if(NOT compiled OR NOT status EQUAL 0)
    message(FATAL_ERROR "The tiers of this processor cannot be determined: set INTACT_TIERS to all, or to a list:\n${said}")
  endif()
  string(STRIP "${best}" best)
  set(${variable} ${best} PARENT_SCOPE)
endfunction()

set(INTACT_TIERS "" CACHE STRING "Tiers to build: best (scalar, and the best one of this processor), all, or a list with scalar in it")
set(INTACT_TIERS_BUILT ${INTACT_TIERS})
if(NOT INTACT_TIERS)
  set(INTACT_TIERS_BUILT best)
  if(CMAKE_CROSSCOMPILING OR family STREQUAL "wasm32")
    set(INTACT_TIERS_BUILT all)
  endif()
endif()
if(INTACT_TIERS_BUILT STREQUAL "all")
  set(INTACT_TIERS_BUILT ${INTACT_FAMILY_TIERS})
elseif(INTACT_TIERS_BUILT STREQUAL "best")
  intact_best_tier(INTACT_TIERS_BUILT)
  list(APPEND INTACT_TIERS_BUILT scalar)
endif()
list(REMOVE_DUPLICATES INTACT_TIERS_BUILT)

# Add a source to a target, compiled with the flags of a tier.
function(intact_compile_for target tier source)
  set(flags ${INTACT_SETS_${tier}})
  list(TRANSFORM flags PREPEND -m)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's own intrinsics leave registers undefined on purpose and then warn of it; the vector ABI is no matter inside a unit.
    list(APPEND flags -Wno-uninitialized -Wno-maybe-uninitialized -Wno-psabi)
    if(INTACT_FAMILY_${tier} STREQUAL "x86_64")
      # Constants come from memory, as operands; moving each from a general register in the middle of a loop costs a third of a gate's time.
      list(APPEND flags -mtune-ctrl=^inter_unit_moves_to_vec)
    endif()
    if(tier STREQUAL "avx2")
      # Otherwise a tile's products are all made before they are added, which takes more registers than there are.
      list(APPEND flags -fno-tree-reassoc -fno-tree-ter)
    endif()
  endif()
  if(tier STREQUAL "scalar")
    list(APPEND flags $<$<CONFIG:Release>:-O2>) # its loops of sixteen lanes take twice the time to compile otherwise
  endif()
  if(INTACT_SANITIZE AND INTACT_SETS_${tier} AND NOT source MATCHES "fp32")
    # Undefined behaviour is looked for where the tiers' shared code is scalar, and the vector tiers are not optimised: they
    # would compile for many minutes otherwise. (With addresses checked by calls instead, GCC 12 made wrong sums.)
    list(APPEND flags -O0 -g1 -fno-sanitize=undefined)
  endif()
  set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${flags}" COMPILE_DEFINITIONS INTACT_TIER=${tier}
                              SKIP_PRECOMPILE_HEADERS ON) # their flags are others
  target_sources(${target} PRIVATE "${source}")
endfunction()

# Add SOURCES to TARGET, and what the tiers in INTACT_TIERS need; generate tiers.inc: the tiers for C++, best first.
function(intact_tiers target)
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/native/tiers")
  set(rows "")
  foreach(tier IN LISTS INTACT_TIERS_BUILT)
    if(NOT tier IN_LIST INTACT_ALL_TIERS)
      message(FATAL_ERROR "INTACT_TIERS names ${tier}: it should be best, all or a list of ${INTACT_FAMILY_TIERS}")
    endif()
  endforeach()
  if(NOT scalar IN_LIST INTACT_TIERS_BUILT)
    message(FATAL_ERROR "INTACT_TIERS is ${INTACT_TIERS}: scalar must be among them")
  endif()
  foreach(tier IN LISTS INTACT_FAMILY_TIERS)
    list(JOIN INTACT_DETECT_${tier} " " features)
    if(NOT tier IN_LIST INTACT_TIERS_BUILT)
      string(PREPEND rows "INTACT_MISSING_ROW(${tier}, \"${features}\")\n")
    else()
      list(GET INTACT_PRODUCTS_${tier} 0 products)
      string(PREPEND rows "INTACT_TIER_ROW(${tier}, ${INTACT_KERNELS_${tier}}, ${products}, ${INTACT_FP32_${tier}}, \"${features}\")\n")
      foreach(kind KERNELS PRODUCTS FP32)
        list(APPEND needed_${kind} ${INTACT_${kind}_${tier}})
      endforeach()
    endif()
  endforeach()
  file(CONFIGURE OUTPUT "${generated}/tiers.inc" CONTENT "${rows}" @ONLY)
  foreach(kind KERNELS PRODUCTS FP32)
    list(REMOVE_DUPLICATES needed_${kind})
  endforeach()
  # The largest first, so that no core waits for them at the end.
  foreach(tier IN LISTS needed_PRODUCTS)
    foreach(part IN LISTS INTACT_PRODUCT_PARTS)
      set(source "${generated}/tier_${tier}_products${part}.cpp")
      file(CONFIGURE OUTPUT "${source}" CONTENT "#define INTACT_PRODUCTS ${part}\n#include \"tiers/tier_${tier}.cpp\"\n" @ONLY)
      intact_compile_for(${target} ${tier} "${source}")
    endforeach()
  endforeach()
  foreach(tier IN LISTS needed_KERNELS)
    intact_compile_for(${target} ${tier} "${CMAKE_CURRENT_SOURCE_DIR}/native/tiers/tier_${tier}.cpp")
  endforeach()
  foreach(tier IN LISTS needed_FP32)
    set(source "${generated}/tier_${tier}_fp32.cpp")
    configure_file(native/tiers/tier_fp32.cpp.in "${source}" COPYONLY)
    intact_compile_for(${target} ${tier} "${source}")
  endforeach()
  list(FILTER ARGN EXCLUDE REGEX "/native/tiers/tier_[a-z0-9]+\\.cpp$")
  target_sources(${target} PRIVATE ${ARGN})
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/native")
endfunction()
