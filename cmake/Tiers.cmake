# The list of tiers: one set of kernels for each instruction set that is worth one. To add a tier, see docs/adding.md.
#
# native/tiers/tier_NAME.cpp holds the int8 profile's kernels of tier NAME and is compiled with flags of its own; those of the fp32 profile
# are generated from native/tiers/tier_fp32.cpp.in. All other sources are compiled for the baseline of the machine's family.
# Inline functions of a tier must not leak into others: a tier keeps everything in an anonymous namespace (scripts/check_tiers.sh looks).

set(INTACT_ALL_TIERS "")

# intact_tier(NAME [FAMILY FAMILY] [SETS SET...] [DETECT FEATURE...] [FP32 TIER]): add a tier, better than those before.
#   FAMILY  x86_64 or aarch64; every family without it
#   SETS    instruction sets that it is compiled for (-mSET)
#   DETECT  features that the processor must have besides (native/tiers/cpu.cpp knows those of both kinds)
#   FP32    the tier whose fp32 kernels it takes; without it, it has its own
macro(intact_tier name)
  cmake_parse_arguments(TIER "" "FAMILY;FP32" "SETS;DETECT" ${ARGN})
  list(APPEND INTACT_ALL_TIERS ${name})
  set(INTACT_FAMILY_${name} ${TIER_FAMILY})
  set(INTACT_SETS_${name} ${TIER_SETS})
  set(INTACT_DETECT_${name} ${TIER_SETS} ${TIER_DETECT})
  set(INTACT_FP32_${name} ${name})
  if(TIER_FP32)
    set(INTACT_FP32_${name} ${TIER_FP32})
  endif()
endmacro()

intact_tier(scalar)
intact_tier(neon FAMILY aarch64)
intact_tier(avx2 FAMILY x86_64 SETS avx2)
set(avx512 avx512f avx512bw avx512vl avx512dq avx512vnni)
intact_tier(avx512 FAMILY x86_64 SETS ${avx512})
set(vbmi2 ${avx512} avx512ifma avx512vbmi2 gfni)
intact_tier(vbmi2 FAMILY x86_64 SETS ${vbmi2} FP32 avx512)
intact_tier(zen4 FAMILY x86_64 SETS ${vbmi2} DETECT amd FP32 avx512)
intact_tier(amx FAMILY x86_64 SETS ${vbmi2} DETECT amx-tile amx-int8 FP32 avx512) # instructions on tiles are written out

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(family x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(family aarch64)
endif()
if(NOT DEFINED INTACT_TIERS) # else those that somebody asks for; scalar must be among them
  foreach(tier IN LISTS INTACT_ALL_TIERS)
    if(NOT INTACT_FAMILY_${tier} OR INTACT_FAMILY_${tier} STREQUAL "${family}")
      list(APPEND INTACT_TIERS ${tier})
    endif()
  endforeach()
endif()

# Compile a source with the flags of a tier.
function(intact_compile_for tier source)
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
  if(INTACT_SANITIZE AND INTACT_SETS_${tier} AND NOT source MATCHES "fp32")
    # Undefined behaviour is looked for where the tiers' shared code is scalar, and the vector tiers are not optimised: they
    # would compile for many minutes otherwise. (With addresses checked by calls instead, GCC 12 made wrong sums.)
    list(APPEND flags -O0 -g1 -fno-sanitize=undefined)
  endif()
  set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${flags}" COMPILE_DEFINITIONS INTACT_TIER=${tier})
endfunction()

# Add SOURCES to TARGET, those of tiers that are not in INTACT_TIERS left out, and generate tiers.inc: the tiers for C++, best first.
function(intact_tiers target)
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/native/tiers")
  set(list "")
  set(with_fp32 "")
  foreach(tier IN LISTS INTACT_ALL_TIERS)
    if(tier IN_LIST INTACT_TIERS)
      list(JOIN INTACT_DETECT_${tier} " " features)
      string(PREPEND list "INTACT_TIER_ROW(${tier}, ${INTACT_FP32_${tier}}, \"${features}\")\n")
      list(APPEND with_fp32 ${INTACT_FP32_${tier}})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES with_fp32)
  foreach(tier IN LISTS INTACT_TIERS with_fp32)
    if(NOT tier IN_LIST INTACT_ALL_TIERS)
      message(FATAL_ERROR "cmake/Tiers.cmake has no tier ${tier}: it should be one of ${INTACT_ALL_TIERS}")
    endif()
  endforeach()
  foreach(tier IN LISTS INTACT_TIERS)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/native/tiers/tier_${tier}.cpp")
      message(FATAL_ERROR "Tier ${tier} of cmake/Tiers.cmake needs its kernels: native/tiers/tier_${tier}.cpp is missing")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT "${generated}/tiers.inc" CONTENT "${list}" @ONLY)
  foreach(tier IN LISTS with_fp32)
    set(source "${generated}/tier_${tier}_fp32.cpp")
    configure_file(native/tiers/tier_fp32.cpp.in "${source}" COPYONLY)
    intact_compile_for(${tier} "${source}")
    target_sources(${target} PRIVATE "${source}")
  endforeach()
  foreach(source IN LISTS ARGN)
    get_filename_component(name "${source}" NAME)
    if(name MATCHES "^tier_([a-z0-9]+)\\.cpp$")
      if(NOT CMAKE_MATCH_1 IN_LIST INTACT_TIERS)
        continue()
      endif()
      intact_compile_for(${CMAKE_MATCH_1} "${source}")
    endif()
    target_sources(${target} PRIVATE "${source}")
  endforeach()
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/native")
endfunction()
