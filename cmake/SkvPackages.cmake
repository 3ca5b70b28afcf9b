# Third-party packages, all from the distribution (tools/install_deps lists them).

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc i18n data)
find_package(OpenSSL REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
if(SKV_WITH_ROCKSDB)
  find_package(RocksDB REQUIRED)
endif()
if(SKV_WITH_REDIS)
  # The distribution's package file names no target.
  find_path(SKV_HIREDIS_INCLUDE_DIR hiredis/read.h REQUIRED)
  find_library(SKV_HIREDIS_LIBRARY hiredis REQUIRED)
endif()
